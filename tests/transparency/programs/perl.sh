cat > p.pl <<'EOF'
use strict; use Fcntl ':flock'; use File::Copy; use File::Temp 'tempfile'; use IO::Handle; use Time::HiRes 'usleep';
$| = 1;
open(my $f, '+>', 'f') or die; print $f "line $_\n" for 1..1000; flock($f, LOCK_EX) or die; seek($f, 0, 0); my @l = <$f>; print scalar(@l), "\n";
truncate($f, 100); flock($f, LOCK_UN); close $f; print -s 'f', "\n"; copy('f', 'g'); rename('g', 'h'); link('h', 'i'); symlink('h', 'j'); print readlink('j'), "\n";
opendir(my $d, '.'); print join(' ', sort grep { !/^\./ } readdir $d), "\n"; closedir $d; my ($t, $name) = tempfile(UNLINK => 1); print $t "x"; close $t;
pipe(my $r, my $w); my $pid = fork; if (!$pid) { close $r; print $w "child\n"; close $w; exit 7 } close $w; print <$r>; waitpid($pid, 0); print $? >> 8, "\n";
print `echo backtick`, system('exit 5') >> 8, "\n"; open(my $p, '-|', 'seq', '3'); print <$p>; close $p; open($p, '|-', 'cat'); print $p "to cat\n"; close $p;
local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select(undef, undef, undef, 5); my $s; usleep(1000); open($s, '<', 'nothing') or print "$!\n";
sysopen($s, 'k', 0x41, 0600); syswrite($s, 'abc'); close $s; print((stat 'k')[7], "\n"); mkdir 'm'; rmdir 'm'; unlink 'k'; open($s, '>', '/dev/full'); print $s 'x' x 10; print close($s) ? "ok" : "$!", "\n"; exec 'echo', 'end';
EOF
perl p.pl; echo $?

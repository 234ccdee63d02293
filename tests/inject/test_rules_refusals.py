"""Every refusal of the rule grammar, as a table: what is refused, where, why, and what is suggested instead."""

from __future__ import annotations

import pytest

from faultlib.errors import RuleError, UsageError
from faultlib.inject.grammar import parse_rule, parse_rules

# (rule, column, reason or its beginning, suggestion)
REFUSED: list[tuple[str, int, str, str | None]] = [
    # names
    ("", 0, "an empty rule", "write:error=ENOSPC"),
    ("   ", 0, "an empty rule", "write:error=ENOSPC"),
    (":error=EIO", 0, "the name of an operation is missing", None),
    ("write,,read:error=EIO", 6, "the name of an operation is missing", None),
    ("write,:error=EIO", 6, "the name of an operation is missing", None),
    ("wriet:error=EIO", 0, "wriet is no operation", "write"),
    ("Write:error=EIO", 0, "Write is no operation", "write"),
    ("qqqqqq:error=EIO", 0, "qqqqqq is no operation", None),
    ("pwrite64:error=EIO", 0, "pwrite64 is a symbol of the operation pwrite", "pwrite"),
    ("__read_chk:error=EIO", 0, "__read_chk is a symbol of the operation read", "read"),
    ("connect:error=ECONNREFUSED", 0, "connect is a family of the network, which is not intercepted yet", None),
    ("accept:hang", 0, "accept is a family of the network, which is not intercepted yet", None),
    ("send:error=EIO", 0, "send is a family of the network, which is not intercepted yet", None),
    ("recv:error=EIO", 0, "recv is a family of the network, which is not intercepted yet", None),
    ("track:hang", 0, "track is no operation", None),
    ("dup:error=EMFILE", 0, "dup is no operation", None),
    ("write,write:error=EIO", 6, "write is there twice", None),
    ("write error=EIO", 0, "write error=EIO is no operation", "write"),
    ("proc=label:w1", 0, "proc=label:w1 is no operation", None),
    # quotes and fields
    ("write:error=EIO:path='a:b", 21, "this quote is not closed", "write:error=EIO:path='a:b'"),
    ("write:error=EIO:path=\"a", 21, "this quote is not closed", "write:error=EIO:path=\"a\""),
    ("write:error=EIO:", 16, "a key is missing between the colons", None),
    ("write::error=EIO", 6, "a key is missing between the colons", None),
    ("write:=EIO", 6, "a key is missing between the colons", None),
    # keys
    ("write:eror=EIO", 6, "eror is no key of a rule", "error"),
    ("write:errno=EIO", 6, "errno is no key of a rule", "error"),
    ("write:retval=5", 6, "retval is no key of a rule", "return"),
    ("write:probability=0.5:error=EIO", 6, "probability is no key of a rule", "p"),
    ("write:pid=7:error=EIO", 6, "pid is no key of a rule", "proc"),
    ("write:xyzzy=1", 6, "xyzzy is no key of a rule", None),
    ("write:read:error=EIO", 6, "read is no key of a rule; operations are separated by commas", None),
    ("write:path!=*.json:error=EIO", 6, "a pattern is negated behind the =", "path=!"),
    ("write:short!=5", 6, "only error has a != of its own", "short="),
    ("write:error=EIO:path=a:path=b", 23, "path is there twice", None),
    ("write:error=EIO:error!=EPERM", 16, "error is there twice", None),
    ("write:error=EIO:short=3", 16, "error and short exclude each other in one rule: give two", None),
    ("write:kill=before:stop", 18, "kill and stop exclude each other in one rule: give two", None),
    ("write:delay=1s:delay_after=1s", 15, "delay and delay_after exclude each other in one rule: give two", None),
    ("write:stop=1", 11, "stop takes no value", "stop"),
    ("flock:hang=now", 11, "hang takes no value", "hang"),
    ("write:skip=yes", 11, "skip takes no value", "skip"),
    ("write:error", 11, "error needs a value", "error=EIO"),
    ("write:error=", 12, "error needs a value", "error=EIO"),
    ("write:kill", 10, "kill needs a value", "kill=before"),
    ("write:short", 11, "short needs a value", "short=50%"),
    ("write:torn", 10, "torn needs a value", "torn=512"),
    ("write:signal", 12, "signal needs a value", "signal=SIGTERM"),
    ("write:return", 12, "return needs a value", "return=0"),
    ("write:corrupt", 13, "corrupt needs a value", "corrupt=1"),
    ("write:space", 11, "space needs a value", "space=64K"),
    ("write:delay", 11, "delay needs a value", "delay=200ms"),
    ("write:delay_after", 17, "delay_after needs a value", "delay_after=200ms"),
    ("write:error=EIO:path=", 21, "path needs a value", "path=*.json"),
    ("write:error=EIO:path=''", 23, "path needs a value", "path=*.json"),
    ("rename:error=EIO:from", 21, "from needs a value", "from=*.tmp"),
    ("rename:error=EIO:to", 19, "to needs a value", "to=*.json"),
    ("write:error=EIO:fd", 18, "fd needs a value", "fd=1"),
    ("write:error=EIO:fdkind", 22, "fdkind needs a value", "fdkind=file"),
    ("open:error=EIO:flags", 20, "flags needs a value", "flags=O_CREAT"),
    ("write:error=EIO:size", 20, "size needs a value", "size=4K+"),
    ("write:error=EIO:offset", 22, "offset needs a value", "offset=0..4095"),
    ("write:error=EIO:proc", 20, "proc needs a value", "proc=label:worker"),
    ("write:error=EIO:thread", 22, "thread needs a value", "thread=*"),
    ("write:error=EIO:after", 21, "after needs a value", "after=NAME"),
    ("write:error=EIO:name", 20, "name needs a value", "name=NAME"),
    ("write:error=EIO:when", 20, "when needs a value", "when=3"),
    ("write:error=EIO:scope", 21, "scope needs a value", "scope=session"),
    ("write:error=EIO:p", 17, "p needs a value", "p=0.05"),
    ("write:error=EIO:times", 21, "times needs a value", "times=1"),
    ("write:error=EIO:at", 18, "at needs a value", "at=5s"),
    ("write:error=EIO:for", 19, "for needs a value", "for=2s"),
    ("write:error=EIO:call", 20, "call needs a value", "call=pwrite"),
    # no effect
    ("write", 5, "this rule has no effect: give error= short= delay= kill= or another", None),
    ("write:path=*.json:when=3", 24, "this rule has no effect: give error= short= delay= kill= or another", None),
    ("write:clock=realtime", 6, "clock is about a clock: only rules on clock have it", None),
    ("clock:clock=monotonic", 6, "clock= goes with offset, rate, jump, freeze", None),
    ("clock:clock=monotonic:delay=1s", 6, "clock= goes with offset, rate, jump, freeze", None),
    # errno
    ("write:error=ENOSPACE", 12, "ENOSPACE is not an errno", "ENOSPC"),
    ("write:error=enospc", 12, "enospc is not an errno", "ENOSPC"),
    ("write:error=0", 12, "0 is not an errno", None),
    ("write:error=4095", 12, "4095 is not an errno", None),
    ("write:error=-5", 12, "-5 is not an errno", None),
    ("write:error!=EFOO", 13, "EFOO is not an errno", "ELOOP"),
    ("flock:error=ENOSPC", 12, "flock cannot return ENOSPC, by flock(2)", "ENOLCK"),
    ("flock:error=28", 12, "flock cannot return ENOSPC, by flock(2)", "ENOLCK"),
    ("fsync:error=ENOENT", 12, "fsync cannot return ENOENT, by fsync(2)", "EINTR"),
    ("rename:error=EAGAIN", 13, "rename cannot return EAGAIN, by rename(2)", "EMLINK"),
    ("sync:error=EIO", 11, "sync cannot fail", None),
    ("sync:error!=EIO", 12, "sync cannot fail", None),
    ("exit:error=EIO", 11, "exit cannot fail", None),
    ("timespec_get:error=EINVAL", 19, "timespec_get cannot fail", None),
    ("write:error=EXDEV", 12, "write cannot return EXDEV, by write(2)", "copy_file_range"),
    ("write,rename:error=ENOLCK", 19, "write cannot return ENOLCK, by write(2)", "ENOSPC"),
    ("write:call=pwrite:error=EXDEV", 24, "pwrite cannot return EXDEV, by pwrite(2)", "EAGAIN"),
    # short and torn
    ("rename:short=3", 7, "rename cannot be cut short: it moves no counted data", "error=EIO"),
    ("fsync:short=50%", 6, "fsync cannot be cut short: it moves no counted data", "error=EIO"),
    ("open:short=1", 5, "open cannot be cut short: it moves no counted data", "error=EIO"),
    ("stat:short=1", 5, "stat cannot be cut short: it moves no counted data", "error=EIO"),
    ("getdents:short=8", 9, "getdents cannot be cut short: it moves no counted data", "error=EIO"),
    ("ficlone:short=1", 8, "ficlone cannot be cut short: it moves no counted data", "error=EIO"),
    ("readlink:short=1", 9, "readlink cannot be cut short: it moves no counted data", "error=EIO"),
    ("write:short=0", 6,
     "write never returns 0 for a file; short=0 is for reads, where it is the end of the file", "short=1"),
    ("write:short=0%", 12, "the part that is moved in per cent is from 1 to 99", "1"),
    ("write:short=100%", 12, "the part that is moved in per cent is from 1 to 99", "99"),
    ("write:short=150%", 12, "the part that is moved in per cent is from 1 to 99", "99"),
    ("write:short=-1", 12, "the part that is moved is a number of bytes, as in 512 or 64K, not -1", None),
    ("write:short=half", 12, "the part that is moved is a number of bytes, as in 512 or 64K, not half", None),
    ("write:short=5Q", 12, "the part that is moved is a number of bytes, as in 512 or 64K, not 5Q", None),
    ("write:short=1.5K", 12, "the part that is moved is a number of bytes, as in 512 or 64K, not 1.5K", None),
    ("write:short=99999999999999999999", 12, "the part that is moved is at most 9223372036854775807 bytes", None),
    ("read:torn=5", 5, "read cannot be torn: it writes no counted data", "kill=before"),
    ("rename:torn=5", 7, "rename cannot be torn: it writes no counted data", "kill=before"),
    ("ficlone:torn=5", 8, "ficlone cannot be torn: it writes no counted data", "kill=before"),
    ("write:torn=0", 6, "torn=0 writes nothing, which is kill=before", "kill=before"),
    ("write:torn=100%", 11, "the part that is moved in per cent is from 1 to 99", "99"),
    ("copy_file_range:torn=0", 16, "torn=0 writes nothing, which is kill=before", "kill=before"),
    # return and skip
    ("open:return=3", 12, "open makes a descriptor, which cannot be made up", "error=EIO"),
    ("openat:skip", 7, "openat makes a descriptor, which cannot be made up", "error=EIO"),
    ("mmap:return=0", 12, "mmap makes a mapping, which cannot be made up", "error=EACCES"),
    ("readdir:return=0", 15, "readdir makes an object, which cannot be made up", "error=EIO"),
    ("fork:return=0", 12, "fork makes a process or thread, which cannot be made up", "error=EAGAIN"),
    ("posix_spawn:skip", 12, "posix_spawn makes a process or thread, which cannot be made up", "error=EIO"),
    ("execve:return=0", 14, "execve makes a process or thread, which cannot be made up", "error=EIO"),
    ("stat:return=0", 12, "stat answers with data, which cannot be made up", "error=EIO"),
    ("readdir_r:return=0", 17, "readdir_r answers with data, which cannot be made up", "error=EIO"),
    ("clock:return=0", 13, "clock_gettime answers with data, which cannot be made up", "error=EACCES"),
    ("time:skip", 5, "time answers with data, which cannot be made up", "error=EFAULT"),
    ("read:return=5", 12, "read answers with data, which cannot be made up; only 0 can be returned", "return=0"),
    ("read:skip", 5, "read answers with data, which cannot be made up", "error=EIO"),
    ("write:return=0", 13, "write never returns 0 for a file", "return=1"),
    ("write:return=-1", 13, "a negative result is an error: give error=", "error=EIO"),
    ("write:return=x", 13, "a return value is a whole number, not x", None),
    ("fsync:return=1", 13, "fsync returns 0 when it succeeds; a failure is given by error=", "return=0"),
    ("posix_fallocate:return=5", 23,
     "posix_fallocate returns 0 when it succeeds; a failure is given by error=", "return=0"),
    ("sync:return=0", 12, "sync returns nothing that could be set: give skip", "skip"),
    ("exit:skip", 5, "exit does not return", None),
    ("_exit:return=0", 13, "_exit does not return", None),
    ("lseek:skip", 6, "lseek returns a position, which cannot be made up", "error=EIO"),
    ("getxattr:return=3", 16,
     "getxattr answers with data, which cannot be made up; only 0 can be returned", "return=0"),
    # corrupt and space
    ("fsync:corrupt=1", 6, "fsync has no data in memory that could be corrupted", "error=EIO"),
    ("sendfile:corrupt=1", 9, "sendfile has no data in memory that could be corrupted", "error=EIO"),
    ("rename:corrupt=1", 7, "rename has no data in memory that could be corrupted", "error=EIO"),
    ("write:corrupt=0", 14, "to corrupt 0 bytes does nothing", "1"),
    ("write:corrupt=x", 14, "the damage is a number of bytes, as in 512 or 64K, not x", None),
    ("read:space=64K", 5, "read takes no space on a disk: give write or allocate", "error=EIO"),
    ("fsync:space=1", 6, "fsync takes no space on a disk: give write or allocate", "error=ENOSPC"),
    ("truncate:space=1", 9, "truncate takes no space on a disk: give write or allocate", "error=ENOSPC"),
    ("write:space=lots", 12, "the space is a number of bytes, as in 512 or 64K, not lots", None),
    # death and signals
    ("exit:kill=after", 5, "exit does not come back: nothing is after it", "kill=before"),
    ("exec:kill=after", 5, "execve does not come back: nothing is after it", "kill=before"),
    ("execve:delay_after=1s", 7, "execve does not come back: nothing is after it", "delay"),
    ("write:kill=now", 11, "now is not a moment to die: before, after", None),
    ("write:kill=9", 11, "9 is not a moment to die: before, after", None),
    ("write:signal=SIGKILL", 13, "death by SIGKILL is an effect of its own", "kill=before"),
    ("write:signal=9", 13, "death by SIGKILL is an effect of its own", "kill=before"),
    ("write:signal=SIGSTOP", 13, "SIGSTOP is an effect of its own", "stop"),
    ("write:signal=SIGFOO", 13, "SIGFOO is not a signal", "SIGIO"),
    ("write:signal=USR1", 13, "USR1 is not a signal", "SIGUSR1"),
    ("write:signal=0", 13, "a signal is from 1 to 64", "1"),
    ("write:signal=65", 13, "a signal is from 1 to 64", "64"),
    ("write:signal=32", 13, "signal 32 is the C library's own", "34"),
    # delay
    ("write:delay=5", 13, "a delay needs a unit: ns us ms s m h d", "5s"),
    ("write:delay=0s", 12, "a delay of 0 does nothing", None),
    ("write:delay=fast", 12, "a delay is a number with a unit, as in 200ms", None),
    ("write:delay=5min", 13, "min is not a unit of time: ns us ms s m h d", "5m"),
    ("write:delay=5sec", 13, "sec is not a unit of time: ns us ms s m h d", "5s"),
    ("write:delay=1.5ns", 12, "a delay is in whole nanoseconds", None),
    ("write:delay=1h30", 16, "a delay needs a unit: ns us ms s m h d", "1h30s"),
    ("write:delay=-5ms", 12, "a delay is a number with a unit, as in 200ms", None),
    ("write:delay=5ms+-", 17, "the jitter is missing", None),
    ("write:delay=5ms+-9ms", 17, "the jitter is more than the delay, 5ms", "5ms+-5ms"),
    ("write:delay=5ms+-2", 18, "the jitter needs a unit: ns us ms s m h d", "5ms+-2s"),
    ("write:delay=400y", 15, "y is not a unit of time: ns us ms s m h d", None),
    ("write:delay=200000d", 12, "a delay is at most 9223372036854775807ns, 292 years", None),
    ("write:delay=1..5s", 12, "a delay is a number with a unit, as in 200ms", None),
    ("write:error=EIO:delay_after=5ms", 16, "with error goes only a delay before the call", "delay"),
    ("write:kill=before:delay_after=5ms", 18, "with kill goes only a delay before the call", "delay"),
    ("write:short=5:delay_after=5ms", 14, "with short goes only a delay before the call", "delay"),
    ("flock:hang:delay=5ms", 11, "a delay does not go with hang", None),
    ("clock:offset=1h:delay=5ms", 16, "a delay does not go with offset", None),
    # paths
    ("sync:error!=EIO:path=*", 16, "sync names no file", None),
    ("munmap:hang:path=/x", 12, "munmap names no file", None),
    ("close_range:hang:path=/x", 17, "close_range names no file", None),
    ("write:error=EIO:path=data/", 25, "names do not end in a slash", "data/*"),
    ("write:error=EIO:path=/a//b", 24, "names are compared without empty parts", "/a/b"),
    ("write:error=EIO:path=/a/./b", 24, "names are compared without .", "/a/b"),
    ("write:error=EIO:path=/a/../b", 24, "names are compared without ..", "/b"),
    ("write:error=EIO:path=a/../b", 23, "names are compared without ..", "b"),
    ("write:error=EIO:path=*/../b", 23, "names are compared without ..", "b"),
    ("write:error=EIO:path=~/x", 21, "~ is not expanded here", "/home/of/x"),
    ("write:error=EIO:path=!", 22, "a glob is missing", None),
    ("write:error=EIO:path=/a,!/b", 24, "! negates the whole list, so it stands before the first glob", None),
    ("write:error=EIO:path=/a,,/b", 24, "a glob is missing", None),
    ("write:error=EIO:path=/a,/b,/c,/d,/e", 21,
     "at most 4 globs, where one below the working directory counts twice", None),
    ("write:error=EIO:path=a,b,c", 21, "at most 4 globs, where one below the working directory counts twice", None),
    ("write:error=EIO:from=/a", 16, "write has no path that it comes from: give path=", None),
    ("unlink:error=EIO:to=/a", 17, "unlink has no path that it goes to: give path=", None),
    ("symlink:error=EIO:from=/a", 18, "symlink has no path that it comes from: give path=", None),
    ("rename,unlink:error=EIO:to=/a", 24, "unlink has no path that it goes to: give path=", None),
    # descriptors
    ("rename:error=EIO:fd=1", 17, "rename works on no descriptor", None),
    ("open:error=EIO:fdkind=file", 22, "open works on no descriptor", None),
    ("write:error=EIO:fd=-1", 19, "a descriptor is from 0 to 2147483647", "0"),
    ("write:error=EIO:fd=x", 19, "a descriptor is a whole number, not x", None),
    ("write:error=EIO:fd=99999999999", 19, "a descriptor is from 0 to 2147483647", "2147483647"),
    ("write:error=EIO:fdkind=fiel", 23,
     "fiel is not a kind of descriptor: file, dir, pipe, socket, tty, other, any", "file"),
    ("write:error=EIO:fdkind=file,file", 28, "file is there twice", None),
    ("write:error=EIO:fdkind=file,any", 23, "any stands alone: it is all kinds", "any"),
    ("flock:hang:fdkind=pipe", 18, "flock works on no pipe, only on file or dir", None),
    ("lock:fdkind=socket,tty:hang", 12, "flock works on no socket or tty, only on file or dir", None),
    ("fsync:fdkind=pipe:hang", 13, "fsync works on no pipe, only on file or dir or other", None),
    ("ftruncate:fdkind=dir:hang", 17, "ftruncate works on no dir, only on file", None),
    ("readdir:fdkind=file:hang", 15, "readdir works on no file, only on dir", None),
    ("lseek:fdkind=tty:hang", 13, "lseek works on no tty, only on file or dir or other", None),
    ("mmap:fdkind=dir:hang", 12, "mmap works on no dir, only on file or other", None),
    # flags
    ("write:error=EIO:flags=O_APPEND", 22, "write has no flags", None),
    ("creat:error=EIO:flags=O_TRUNC", 22, "creat has no flags", None),
    ("rename:error=EIO:flags=RENAME_EXCHANGE", 23, "rename has no flags; of the family, renameat2 can", "renameat2"),
    ("open:error=EIO:flags=O_TRUNK", 21, "open has no flag O_TRUNK", "O_TRUNC"),
    ("open:error=EIO:flags=LOCK_EX", 21, "open has no flag LOCK_EX", "O_EXCL"),
    ("open:error=EIO:flags=O_CREAT|", 29, "a flag is missing", None),
    ("open:error=EIO:flags=O_CREAT|O_CREAT", 29, "O_CREAT is there twice", None),
    ("open:error=EIO:flags=O_WRONLY|O_RDWR", 21, "these flags exclude each other: no call matches", None),
    ("open:error=EIO:flags=O_CREAT|!O_CREAT", 21, "these flags exclude each other: no call matches", None),
    ("open:error=EIO:flags=!O_RDONLY", 21,
     "O_RDONLY is one value of several and cannot be forbidden: name the one that is wanted", None),
    ("flock:hang:flags=LOCK_SH|LOCK_EX", 17, "these flags exclude each other: no call matches", None),
    ("flock:hang:flags=O_CREAT", 17, "flock has no flag O_CREAT", None),
    # sizes and offsets
    ("rename:error=EIO:size=5", 17, "rename has no size", None),
    ("fsync:error=EIO:size=5", 16, "fsync has no size; of the family, sync_file_range, msync can", "sync_file_range"),
    ("write:error=EIO:size=5..3", 21, "5 is more than 3", "3..5"),
    ("write:error=EIO:size=..", 21, "a range needs an end: N, N..M, N+ or ..M", None),
    ("write:error=EIO:size=5..", 22, "a range without end is written N+", "5+"),
    ("write:error=EIO:size=5..x", 24, "a size is a number of bytes, as in 512 or 64K, not x", None),
    ("write:error=EIO:size=x", 21, "a size is a number of bytes, as in 512 or 64K, not x", None),
    ("write:error=EIO:size=-5", 21, "a size is a number of bytes, as in 512 or 64K, not -5", None),
    ("write:error=EIO:offset=-10..-1", 23, "only lseek has negative offsets: no call matches", None),
    ("rename:error=EIO:offset=5", 17, "rename has no offset", None),
    ("copy_file_range:error=EIO:offset=5", 26, "copy_file_range has no offset", None),
    ("read:offset=+1h:error=EIO", 12,
     "here offset= is a range of positions in a file; only a rule on clock takes a time", None),
    ("lseek:error=EINVAL:offset=-5x", 27, "a position is a number of bytes, as in 512 or 64K, not 5x", None),
    ("write:torn=100:size=..50", 20, "torn=100 matches calls of 101 and more: no call matches", "101+"),
    ("write:torn=100:size=100", 20, "torn=100 matches calls of 101 and more: no call matches", "101+"),
    ("write:short=100:size=..100", 21, "short=100 matches calls of 101 and more: no call matches", "101+"),
    ("write:short=50%:size=1", 21, "short=50% matches calls of 2 and more: no call matches", "2+"),
    ("write:return=10:size=..9", 21, "return=10 matches calls of 10 and more: no call matches", "10+"),
    ("write:corrupt=1:size=0", 21, "corrupt=1 matches calls of 1 and more: no call matches", "1+"),
    ("write:space=1K:size=0", 20, "space=1K matches calls of 1 and more: no call matches", "1+"),
    # processes and threads
    ("write:error=EIO:proc=label:", 21,
     "a glob is missing: proc=GLOB, or one of label:GLOB, comm:GLOB, lineage:GLOB", None),
    ("write:error=EIO:proc=!", 21,
     "a glob is missing: proc=GLOB, or one of label:GLOB, comm:GLOB, lineage:GLOB", None),
    ("write:error=EIO:thread=!1", 23, "thread= cannot be negated", None),
    # windows
    ("write:error=EIO:when=0", 21, "a call, counted from 1, is from 1 to 18446744073709551615", "1"),
    ("write:error=EIO:when=5..3", 21, "5 is more than 3: no call is in this window", "3..5"),
    ("write:error=EIO:when=x", 21, "a call, counted from 1, is a whole number, not x", None),
    ("write:error=EIO:when=3..", 24, "the last call is a whole number, not nothing", "3+"),
    ("write:error=EIO:when=3..x", 24, "the last call is a whole number, not x", None),
    ("write:error=EIO:when=3+0", 23, "the step is from 1 to 18446744073709551615", "3+1"),
    ("write:error=EIO:when=3..9+0", 26, "the step is from 1 to 18446744073709551615", "3..9+1"),
    ("write:error=EIO:when=3..9+", 26, "a step is missing after +", "3..9"),
    ("write:error=EIO:when=-1", 21, "a call, counted from 1, is from 1 to 18446744073709551615", "1"),
    ("write:error=EIO:when=99999999999999999999999", 21,
     "a call, counted from 1, is from 1 to 18446744073709551615", "18446744073709551615"),
    ("write:error=EIO:scope=world:when=1", 22, "world is not a scope: process, session, thread, path", None),
    ("write:error=EIO:scope=thread", 16, "scope= says what when= and times= count, and this rule has neither", None),
    ("sync:delay=1s:scope=path:when=1", 20, "sync names no file whose calls could be counted", None),
    ("write:error=EIO:p=0", 18, "at this probability the rule never acts", None),
    ("write:error=EIO:p=1.5", 18, "a probability is at most 1", "0.015"),
    ("write:error=EIO:p=150%", 18, "a probability is at most 1", "0.015"),
    ("write:error=EIO:p=-1", 18, "a probability is a decimal number, not -1", None),
    ("write:error=EIO:p=half", 18, "a probability is a decimal number, not half", None),
    ("write:error=EIO:p=0.0000000001", 18, "at this probability the rule never acts", None),
    ("write:error=EIO:times=0", 22, "a number of times is from 1 to 18446744073709551615", "1"),
    ("write:error=EIO:times=x", 22, "a number of times is a whole number, not x", None),
    ("write:error=EIO:at=5", 20, "a time needs a unit: ns us ms s m h d", "5s"),
    ("write:error=EIO:for=0s", 20, "for 0 the window never opens", None),
    ("write:error=EIO:for=2", 21, "a duration needs a unit: ns us ms s m h d", "2s"),
    ("write:error=EIO:after=a b", 22, "a name has letters, digits, _ . and -", "a_b"),
    ("write:error=EIO:name=x!", 21, "a name has letters, digits, _ . and -", "x_"),
    ("write:error=EIO:name=a:after=a", 29, "a rule that waits for itself never acts", None),
    # call
    ("write:call=fsync:error=EIO", 11, "fsync is not one of write", None),
    ("write:call=pwrit:error=EIO", 11, "pwrit is not one of write", "pwrite"),
    ("write:call=pwrite,:error=EIO", 11, "nothing is not one of write", None),
    ("read,write:call=pwrite:error=EIO", 16, "call= leaves nothing of read", None),
    ("pwrite:call=write:error=EIO", 12, "write is not one of pwrite", "pwrite"),
    ("write:call=pwritev:error=EIO:flags=RWF_SYNC", 35, "pwritev has no flags", None),
    # clocks
    ("write:rate=2", 6, "rate is about a clock: only rules on clock have it", "clock:rate"),
    ("write:jump=-30s", 6, "jump is about a clock: only rules on clock have it", "clock:jump"),
    ("write:freeze", 6, "freeze is about a clock: only rules on clock have it", "clock:freeze"),
    ("write:clock=realtime:error=EIO", 6, "clock is about a clock: only rules on clock have it", None),
    ("sleep:offset=1h", 13, "here offset= is a range of positions in a file; only a rule on clock takes a time", None),
    ("time:offset=1h", 12, "here offset= is a range of positions in a file; only a rule on clock takes a time", None),
    ("time:jump=1h", 5, "jump is about a clock: only rules on clock have it", "clock:jump"),
    ("clock,write:offset=1h", 12, "offset changes the clock as a whole: only `clock` has it", "clock"),
    ("clock:offset=1h:call=time", 6, "offset changes the clock as a whole: only `clock` has it", "clock"),
    ("clock:offset=1", 14, "the offset needs a unit: ns us ms s m h d", "1s"),
    ("clock:offset=x", 13, "the offset is a number with a unit, as in 200ms", None),
    ("clock:offset=-1", 15, "the offset needs a unit: ns us ms s m h d", "-1s"),
    ("clock:jump=0s", 11, "a jump by 0 does nothing", None),
    ("clock:jump=5s:for=2s", 14, "a jump is a moment; an offset lasts", "offset"),
    ("clock:rate=0", 11, "a clock at rate 0 stands still, which is freeze", "freeze"),
    ("clock:rate=-1", 11, "a rate is a decimal number, not -1", None),
    ("clock:rate=0.0000001", 11, "a rate is from 0.000001 to 1000000", None),
    ("clock:rate=2000000", 11, "a rate is from 0.000001 to 1000000", None),
    ("clock:rate=fast", 11, "a rate is a decimal number, not fast", None),
    ("clock:freeze=1", 13, "freeze takes no value", "freeze"),
    ("clock:offset=1h:when=3", 16,
     "offset holds for a stretch of time (at= for=); only jump happens at a counted call", "at"),
    ("clock:freeze:p=0.5", 13,
     "freeze holds for a stretch of time (at= for=); only jump happens at a counted call", None),
    ("clock:rate=2:times=3", 13,
     "rate holds for a stretch of time (at= for=); only jump happens at a counted call", None),
    ("clock:freeze:scope=session", 13,
     "freeze holds for a stretch of time (at= for=); only jump happens at a counted call", None),
    ("clock:freeze:thread=1", 13,
     "freeze holds for a stretch of time (at= for=); only jump happens at a counted call", None),
    ("clock:offset=1h:after=x", 16,
     "offset holds for a stretch of time (at= for=); only jump happens at a counted call", None),
    ("clock:offset=1h:rate=2", 16, "offset and rate exclude each other in one rule: give two", None),
    ("clock:offset=1h:path=/x", 16, "clock_gettime names no file", None),
    ("clock:offset=1h:clock=tai", 22, "tai is not a clock: realtime, monotonic, boottime", None),
    ("clock:offset=1h:clock=realtime,realtime", 31, "realtime is there twice", None),
    ("clock:error=EIO", 12, "clock_gettime cannot return EIO, by clock_gettime(2)", "EACCES"),
    ("clock:short=5", 6, "clock_gettime cannot be cut short: it moves no counted data", "error=EACCES"),
]  # fmt: skip

# (rules, number of the refused one, column, reason, suggestion)
REFUSED_TOGETHER: list[tuple[list[str], int, int, str, str | None]] = [
    (["write:error=EIO:after=b"], 0, 22, "no rule is named b", None),
    (["open:hang:name=first", "write:error=EIO:after=frist"], 1, 22, "no rule is named frist", "first"),
    (["open:hang:name=a", "write:error=EIO:name=a"], 1, 21, "another rule is named a", None),
    (["open:hang:name=a:after=b", "read:hang:name=b:after=a"], 0, 23, "these rules wait for each other", None),
    (["open:hang:name=a:after=c", "read:hang:name=b:after=a", "read:stop:name=c:after=b"], 0, 23, "these rules", None),
    (["write:error=EIO"] * 65, 64, 0, "more than 64 live rules", None),
]


@pytest.mark.parametrize(("text", "column", "reason", "suggestion"), REFUSED, ids=[row[0] or "-" for row in REFUSED])
def test_refuses_with_place_reason_and_nearest(
    text: str, column: int, reason: str, suggestion: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    error = caught.value
    assert (error.text, error.position, error.suggestion) == (text, column, suggestion)
    assert error.reason.startswith(reason)
    assert 0 <= error.position <= len(text)


@pytest.mark.parametrize(("texts", "number", "column", "reason", "suggestion"), REFUSED_TOGETHER)
def test_refuses_rules_that_do_not_go_together(
    texts: list[str], number: int, column: int, reason: str, suggestion: str | None
) -> None:
    for text in texts:
        parse_rule(text)
    with pytest.raises(RuleError) as caught:
        parse_rules(texts)
    error = caught.value
    assert (error.text, error.position, error.suggestion) == (texts[number], column, suggestion)
    assert error.reason.startswith(reason)


def test_the_error_shows_text_caret_reason_and_suggestion() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("write:eror=EIO")
    assert str(caught.value) == "eror is no key of a rule; did you mean error?\n  write:eror=EIO\n        ^"
    assert str(caught.value.at("rules.yaml:3")).startswith("rules.yaml:3: eror is no key")


def test_a_text_of_several_lines_keeps_its_columns() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("write:\nerror=EIO")
    assert str(caught.value).splitlines()[1:] == ["  write: error=EIO", "        ^"]


def test_rule_errors_are_usage_errors() -> None:
    assert issubclass(RuleError, UsageError)
    assert (RuleError.exit_code, RuleError.slug) == (2, "rule")


def test_known_rules_count_for_names_and_after() -> None:
    assert parse_rules(["write:error=EIO:after=old"], known=["old"])[0].after == "old"
    with pytest.raises(RuleError, match="another rule is named old"):
        parse_rules(["write:error=EIO:name=old"], known=["old"])


def test_sixty_four_rules_are_accepted() -> None:
    assert len(parse_rules(["write:error=EIO"] * 64)) == 64

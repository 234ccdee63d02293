"""Runtimes with their own way to the kernel: Java, node, perl."""

from __future__ import annotations

from tests.matrix.model import Fails, Program, row

DENIED, SPACE, IO = "Permission denied", "No space left on device", "Input/output error"


def java(rule: str, operation: str, reaction: str | None, files: str = "f", ignored: str = "") -> Fails:
    return Fails(rule, ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", "{java}", "Files1", operation, *files.split()], reaction, "", ignored)


JAVA = row(
    "Java",
    needs=("javac",),
    open=java("open:error=EACCES:path=f", "read", "AccessDeniedException"),
    read=java("read:error=EIO:path=f", "read", IO),
    write=java("write:error=ENOSPC:path=f", "stream", SPACE),
    fsync=java("fsync:error=EIO:path=f", "fsync", IO),
    rename=java("rename:error=EACCES:to=g", "rename", "AccessDeniedException", "f g"),
    unlink=java("unlink:error=EACCES:path=f", "unlink", "AccessDeniedException"),
    mkdir=java("mkdir:error=ENOSPC:path=e", "mkdir", SPACE, "e"),
    stat=java("stat:error=EIO:path=f", "stat", IO),
    readdir=java("readdir:error=EIO:path=d", "readdir", IO, "d"),
    truncate=java("truncate:error=EIO:path=f", "truncate", IO),
    lock=java("lock:error=ENOLCK:path=f", "lock", "No locks available"),
    close=java("close:error=EIO:path=f", "write", IO),
)


def node(name: str, promises: bool) -> Program:
    def js(rule: str, call: str, code: str) -> Fails:
        if promises:
            program = f"require('fs').promises.{call}.catch(e => {{ console.log(e.code); process.exit(1) }})"
        else:
            name, arguments = call.split("(", 1)
            program = f"try {{ require('fs').{name}Sync({arguments} }} catch (e) {{ console.log(e.code); process.exit(1) }}"
        return Fails(rule, ["node", "-e", program], code)

    def handle(rule: str, call: str, code: str, ignored: str = "") -> Fails:
        """A call on an open file."""
        if promises:
            program = f"(async () => {{ const h = await require('fs').promises.open('f', 'r+'); try {{ await h.{call} }} finally {{ await h.close() }} }})()"
        else:
            name, arguments = call.split("(", 1)
            renamed = {"sync": "fsync", "truncate": "ftruncate", "stat": "fstat"}.get(name, name)
            given = f"h, {arguments}" if arguments != ")" else "h)"
            program = f"const fs = require('fs'); const h = fs.openSync('f', 'r+'); fs.{renamed}Sync({given}; fs.closeSync(h)"
        program = program.replace("})()", "})().catch(e => { console.log(e.code); process.exit(1) })")
        return Fails(rule, ["node", "-e", program], code, "", ignored)

    return row(
        name,
        needs=("node",),
        open=js("open:error=EACCES:path=f", "readFile('f')", "EACCES"),
        read=js("read:error=EIO:path=f", "readFile('f')", "EIO"),
        write=js("write:error=ENOSPC:path=g", "writeFile('g', 'hello')", "ENOSPC"),
        fsync=handle("fsync:error=EIO:path=f", "sync()", "EIO"),
        rename=js("rename:error=EXDEV:to=g", "rename('f', 'g')", "EXDEV"),
        unlink=js("unlink:error=EPERM:path=f", "unlink('f')", "EPERM"),
        mkdir=js("mkdir:error=ENOSPC:path=e", "mkdir('e')", "ENOSPC"),
        stat=js("stat:error=EACCES:path=f", "stat('f')", "EACCES"),
        readdir=js("readdir:error=EIO:path=d", "readdir('d')", "EIO"),
        truncate=handle("truncate:error=EIO:path=f", "truncate(1)", "EIO"),
        lock="node has no file locks",
        close=handle("close:error=EIO:path=f", "stat()", "EIO"),
    )


def perl(rule: str, code: str, reaction: str | None, ignored: str = "") -> Fails:
    return Fails(rule, ["perl", "-MFcntl=:flock", "-MIO::Handle", "-e", code], reaction, "", ignored)


PERL = row(
    "perl",
    needs=("perl",),
    open=perl("open:error=EACCES:path=f", "open(my $s, '<', 'f') or die $!", DENIED),
    read=perl("read:error=EIO:path=f", "open(my $s, '<', 'f'); my $x = <$s>; die $! if $s->error", IO),
    write=perl("write:error=ENOSPC:path=f", "open(my $s, '>', 'f'); print $s 'x'; close($s) or die $!", SPACE),
    fsync=perl("fsync:error=EIO:path=f", "open(my $s, '>', 'f'); $s->sync or die $!", IO),
    rename=perl("rename:error=EXDEV:from=f", "rename('f', 'g') or die $!", "Invalid cross-device link"),
    unlink=perl("unlink:error=EPERM:path=f", "unlink('f') or die $!", "Operation not permitted"),
    mkdir=perl("mkdir:error=ENOSPC:path=e", "mkdir('e') or die $!", SPACE),
    stat=perl("stat:error=EIO:path=f", "-e 'f' or die $!", IO),
    readdir=perl("readdir:error=EIO:path=d", "opendir(my $d, 'd'); my @all = readdir($d); print scalar(@all), ' entries'", "^0 entries"),
    truncate=perl("truncate:error=EIO:path=f", "truncate('f', 1) or die $!", IO),
    lock=perl("lock:error=EAGAIN:path=f", "open(my $s, '<', 'f'); flock($s, LOCK_EX) or die $!", "Resource temporarily unavailable"),
    close=perl("close:error=EIO:path=f", "open(my $s, '<', 'f'); close($s) or die $!", IO),
)

RUNTIMES = [JAVA, node("node, sync", False), node("node, promises", True), PERL]

"""git: adding, committing, collecting garbage."""

from __future__ import annotations

from tests.matrix.model import Fails, row

SPACE, IO, DENIED = "No space left on device", "Input/output error", "Permission denied"
REPOSITORY = "git init -q . && git add d/a && git commit -q -m one"
PACKABLE = REPOSITORY + " && git add f && git commit -q -m two"


def git(rule: str, command: str, reaction: str | None, *, prepare: str = REPOSITORY, ignored: str = "") -> Fails:
    return Fails(rule, ["git", *command.split()], reaction, prepare, ignored)


ADD = row(
    "git add",
    needs=("git",),
    open=git("open:error=EACCES:path=f", "add f", DENIED),
    read=git("read:error=EIO:path=f", "add f", IO),
    write=git("write:error=ENOSPC:path=*/objects/*", "add f", SPACE),
    fsync=git("fsync:error=EIO:path=*/objects/*", "-c core.fsync=all add f", IO),
    rename=git("rename:error=EACCES:to=*/index", "add f", "Unable to write new index file"),
    unlink=git("unlink:error=EPERM:path=*/tmp_obj*", "add f", None, ignored="git removes its temporary object without looking"),
    mkdir=git("mkdir:error=ENOSPC:path=*/objects/*", "add f", SPACE),
    stat=git("stat:error=EIO:path=f", "add f", IO),
    readdir=git("readdir:error=EIO:path=d", "add d", None, ignored="git takes it for the end of the directory"),
    truncate="git does not truncate",
    lock="git locks by O_EXCL lock files",
    close=git("close:error=EIO:path=*/objects/*", "add f", "error when closing|unable to close"),
)
COMMIT = row(
    "git commit",
    needs=("git",),
    open=git("open:error=EACCES:path=*/COMMIT_EDITMSG", "commit --allow-empty -m x", DENIED),
    read=git("read:error=EIO:path=*/HEAD", "commit --allow-empty -m x", "not a git repository|Input/output error"),
    write=git("write:error=ENOSPC:path=*/objects/*", "commit --allow-empty -m x", SPACE),
    fsync=git("fsync:error=EIO:path=*/refs/*", "-c core.fsync=all commit --allow-empty -m x", "couldn't write"),
    rename=git("rename:error=EACCES:to=*/refs/heads/*", "commit --allow-empty -m x", "couldn't set 'refs/heads/master'"),
    unlink=git("unlink:error=EIO:path=*/index.lock", "commit --allow-empty -m x", None, ignored="a lock file that will not go is left"),
    mkdir=git("mkdir:error=ENOSPC:path=*/objects/*", "commit --allow-empty -m x", SPACE),
    stat=git("stat:error=EIO:path=*/.git", "commit --allow-empty -m x", "dubious ownership"),
    readdir=git("readdir:error=EIO:path=*/refs", "commit --allow-empty -m x", None, ignored="git takes it for the end of the directory"),
    truncate="git does not truncate",
    lock="git locks by O_EXCL lock files",
    close=git("close:error=EIO:path=*/COMMIT_EDITMSG", "commit --allow-empty -m x", None, ignored="git does not look at this close"),
)
GC = row(
    "git gc",
    needs=("git",),
    open=git("open:error=EACCES:path=*/packed-refs.lock", "gc", DENIED, prepare=PACKABLE),
    read=git("read:error=EIO:path=*/packed-refs", "gc", IO, prepare=PACKABLE),
    write=git("write:error=ENOSPC:path=*/pack/tmp_pack*", "gc", "Out of diskspace", prepare=PACKABLE),
    fsync=git("fsync:error=EIO:path=*/pack/*", "gc", IO, prepare=PACKABLE),
    rename=git("rename:error=EACCES:to=*.pack", "gc", DENIED, prepare=PACKABLE),
    unlink=git("unlink:error=EACCES:path=*/objects/[0-9a-f]*", "gc", DENIED, prepare=PACKABLE),
    mkdir="the directories are there",
    stat=git("stat:error=EIO:path=*/.git", "gc", "dubious ownership", prepare=PACKABLE),
    readdir=git("readdir:error=EIO:path=*/objects/pack", "gc", None, prepare=PACKABLE, ignored="git takes it for the end of the directory"),
    truncate="git does not truncate",
    lock="git locks by O_EXCL lock files",
    close=git("close:error=EIO:path=*/pack/*", "gc", IO, prepare=PACKABLE),
)
GIT = [ADD, COMMIT, GC]

"""The small tools: GNU coreutils, sed and tar."""

from __future__ import annotations

from tests.matrix.model import Fails, row

SPACE, IO, DENIED = "No space left on device", "Input/output error", "Permission denied"


def run(rule: str, command: str, reaction: str | None, *, prepare: str = "", ignored: str = "", stdin: str = "") -> Fails:
    return Fails(rule, command.split(), reaction, prepare, ignored, stdin)


SED = row(
    "sed -i",
    open=run("open:error=EACCES:path=f", "sed -i s/one/1/ f", DENIED),
    read=run("read:error=EIO:path=f", "sed -i s/one/1/ f", IO),
    write=run("write:error=ENOSPC:path=sed*", "sed -i s/one/1/ f", SPACE),
    fsync="sed does not sync",
    rename=run("rename:error=EACCES:to=f", "sed -i s/one/1/ f", DENIED),
    unlink="sed renames its temporary file",
    mkdir="sed makes no directories",
    # sed does not look at the result of fstat: what stood in memory before decides whether it goes on.
    stat=run("stat:error=EIO:path=f", "sed -i s/one/1/ f", "couldn't edit f: not a regular file|Input/output error"),
    readdir="sed lists no directories",
    truncate="sed -i writes a new file",
    lock="sed does not lock",
    close=run("close:error=EIO:path=sed*", "sed -i s/one/1/ f", IO),
)
TEE = row(
    "tee",
    open=run("open:error=EACCES:path=out", "tee out", DENIED),
    read="tee reads its standard input",
    write=run("write:error=ENOSPC:path=out", "tee out", SPACE, stdin="hello\n"),
    fsync="tee does not sync",
    rename="tee does not rename",
    unlink="tee does not unlink",
    mkdir="tee makes no directories",
    stat="tee does not look at its files",
    readdir="tee lists no directories",
    truncate="tee opens with O_TRUNC",
    lock="tee does not lock",
    close=run("close:error=EIO:path=out", "tee out", IO),
)
SORT = row(
    "sort -o",
    open=run("open:error=EACCES:path=out", "sort -o out f", DENIED),
    read=run("read:error=EIO:path=f", "sort -o out f", IO),
    write=run("write:error=ENOSPC:path=out", "sort -o out f", SPACE),
    fsync="sort does not sync",
    rename="sort writes into the file itself",
    unlink="a small input needs no temporary files",
    mkdir="sort makes no directories",
    stat=run("stat:error=EIO:path=f", "sort -o out f", None),
    readdir="sort lists no directories",
    truncate=run("truncate:error=EIO:path=out", "sort -o out f", IO),
    lock="sort does not lock",
    close=run("close:error=EIO:path=out", "sort -o out f", IO),
)
CP = row(
    "cp",
    open=run("open:error=EACCES:path=out", "cp f out", DENIED),
    read=run("read:error=EIO:path=f", "cp f out", IO),
    write=run("write:error=ENOSPC:path=out", "cp f out", SPACE),
    fsync="cp does not sync",
    rename=run("rename:error=EACCES:to=f~", "cp -b d/a f", DENIED),
    unlink=run("unlink:error=EPERM:path=out", "cp --remove-destination f out", "cannot remove", prepare="touch out"),
    mkdir=run("mkdir:error=ENOSPC:path=e", "cp -r d e", SPACE),
    stat=run("stat:error=EIO:path=f", "cp f out", IO),
    readdir=run("readdir:error=EIO:path=d", "cp -r d e", IO),
    truncate=run("truncate:error=EIO:path=out", "cp --sparse=always zeros out", IO, prepare="truncate -s 100000 zeros"),
    lock="cp does not lock",
    close=run("close:error=EIO:path=out", "cp f out", IO),
)
MV = row(
    "mv",
    open=run("open:error=EACCES:path=d", "mv f d", "cannot overwrite directory 'd'"),
    read="a rename reads nothing",
    write="a rename writes nothing",
    fsync="mv does not sync",
    rename=run("rename:error=EACCES:from=f", "mv f g", DENIED),
    unlink="a rename replaces its target",
    mkdir="mv within one file system makes no directories",
    stat=run("stat:error=EIO:path=g", "mv f g", IO, prepare="touch g"),
    readdir="mv within one file system lists no directories",
    truncate="mv does not truncate",
    lock="mv does not lock",
    close="it ends with the directory open",
)
RM = row(
    "rm",
    open=run("open:error=EACCES:path=d", "rm -r d", DENIED),
    read="rm reads no files",
    write="rm writes no files",
    fsync="rm does not sync",
    rename="rm does not rename",
    unlink=run("unlink:error=EPERM:path=f", "rm f", "cannot remove 'f': Operation not permitted"),
    mkdir="rm makes no directories",
    stat=run("stat:error=EIO:path=d", "rm -r d", "cannot remove 'd': Is a directory"),
    readdir=run("readdir:error=EIO:path=d", "rm -r d", "cannot remove 'd': Directory not empty"),
    truncate="rm does not truncate",
    lock="rm does not lock",
    close=run("close:error=EIO:path=d", "rm -r d", None, ignored="rm does not look at close"),
)
DD = row(
    "dd",
    open=run("open:error=EACCES:path=out", "dd if=f of=out", DENIED),
    read=run("read:error=EIO:path=f", "dd if=f of=out", IO),
    write=run("write:error=ENOSPC:path=out", "dd if=f of=out", SPACE),
    fsync=run("fsync:error=EIO:path=out", "dd if=f of=out conv=fsync", "fsync failed for 'out': Input/output error"),
    rename="dd does not rename",
    unlink="dd does not unlink",
    mkdir="dd makes no directories",
    stat="dd looks at files only where it cannot seek",
    readdir="dd lists no directories",
    truncate=run("truncate:error=EIO:path=out", "dd if=f of=out seek=1", IO),
    lock="dd does not lock",
    close=run("close:error=EIO:path=out", "dd if=f of=out", IO),
)
TAR = row(
    "tar",
    open=run("open:error=EACCES:path=d/a", "tar cf t.tar d", DENIED),
    read=run("read:error=EIO:path=f", "tar cf t.tar f", IO),
    write=run("write:error=ENOSPC:path=t.tar", "tar cf t.tar f d", SPACE),
    fsync="tar does not sync",
    rename=run("rename:error=EACCES:path=f", "tar xf t.tar --backup=simple", DENIED, prepare="tar cf t.tar f"),
    unlink=run("unlink:error=EPERM:path=f", "tar xf t.tar", "f: .*Operation not permitted|File exists", prepare="tar cf t.tar f"),
    mkdir=run("mkdir:error=ENOSPC:path=d", "tar xf t.tar", SPACE, prepare="tar cf t.tar d; rm -r d"),
    stat=run("stat:error=EIO:path=f", "tar cf t.tar f", IO),
    readdir=run("readdir:error=EIO:path=d", "tar cf t.tar d", IO),
    truncate="tar does not truncate",
    lock="tar does not lock",
    close=run("close:error=EIO:path=t.tar", "tar cf t.tar f", IO),
)

COREUTILS = [SED, TEE, SORT, CP, MV, RM, DD, TAR]

"""Python's own ways to files."""

from __future__ import annotations

from tests.matrix.model import Fails, row

EIO, ENOSPC, EACCES = r"Errno 5\]", r"Errno 28\]", r"Errno 13\]"


def py(rule: str, code: str, reaction: str | None, *, prepare: str = "", ignored: str = "") -> Fails:
    return Fails(rule, ("{python}", "-c", code), reaction, prepare, ignored)


OPEN = row(
    "Python open, json",
    open=py("open:error=EACCES:path=f", "import json; open('f')", EACCES),
    read=py("read:error=EIO:path=j", "import json; json.load(open('j'))", EIO, prepare="echo '{}' > j"),
    write=py("write:error=ENOSPC:path=j", "import json; json.dump(list(range(9000)), open('j', 'w'))", ENOSPC),
    fsync=py("fsync:error=EIO:path=j", "import os; s = open('j', 'w'); s.write('x'); s.flush(); os.fsync(s)", EIO),
    rename="a file object does not rename",
    unlink="a file object does not unlink",
    mkdir="a file object does not make directories",
    stat=py("stat:error=EIO:path=f:when=1", "open('f').read(); print('read')", None, ignored="only a directory would matter"),
    readdir="a file object does not list directories",
    truncate=py("truncate:error=EIO:path=f", "open('f', 'r+').truncate(2)", EIO),
    lock=py("lock:error=ENOLCK:path=f", "import fcntl; fcntl.flock(open('f'), fcntl.LOCK_EX)", r"Errno 37\]"),
    close=py("close:error=EIO:path=f", "s = open('f'); s.close()", EIO),
)

OS = row(
    "Python os",
    open=py("open:error=EMFILE:path=f", "import os; os.open('f', os.O_RDONLY)", r"Errno 24\]"),
    read=py("read:error=EIO:path=f", "import os; os.read(os.open('f', 0), 5)", EIO),
    write=py("write:error=EDQUOT:path=f", "import os; os.write(os.open('f', 1), b'x')", r"Errno 122\]"),
    fsync=py("fsync:error=EIO:path=f", "import os; os.fdatasync(os.open('f', 1))", EIO),
    rename=py("rename:error=EXDEV:from=f", "import os; os.replace('f', 'g')", r"Errno 18\]"),
    unlink=py("unlink:error=EPERM:path=f", "import os; os.unlink('f')", r"Errno 1\]"),
    mkdir=py("mkdir:error=ENOSPC:path=new/deep", "import os; os.makedirs('new/deep')", ENOSPC),
    stat=py("stat:error=EACCES:path=f", "import os; os.stat('f')", EACCES),
    readdir=py("readdir:error=EIO:path=d", "import os; os.listdir('d')", EIO),
    truncate=py("truncate:error=EIO:path=f", "import os; os.truncate('f', 1)", EIO),
    lock=py("lock:error=EDEADLK:path=f", "import os; os.lockf(os.open('f', 2), os.F_LOCK, 0)", r"Errno 35\]"),
    close=py("close:error=EIO:path=f", "import os; os.close(os.open('f', 0))", EIO),
)

PATHLIB = row(
    "Python pathlib",
    open=py("open:error=ENFILE:path=f", "from pathlib import Path; Path('f').read_text()", r"Errno 23\]"),
    read=py("read:error=EIO:path=f", "from pathlib import Path; Path('f').read_bytes()", EIO),
    write=py("write:error=ENOSPC:path=g", "from pathlib import Path; Path('g').write_text('x' * 9000)", ENOSPC),
    fsync="pathlib has no sync",
    rename=py("rename:error=EACCES:to=g", "from pathlib import Path; Path('f').rename('g')", EACCES),
    unlink=py("unlink:error=EBUSY:path=f", "from pathlib import Path; Path('f').unlink()", r"Errno 16\]"),
    mkdir=py("mkdir:error=EROFS:path=g", "from pathlib import Path; Path('g').mkdir()", r"Errno 30\]"),
    stat=py("stat:error=EIO:path=f", "from pathlib import Path; Path('f').stat()", EIO),
    readdir=py("readdir:error=EIO:path=d", "from pathlib import Path; list(Path('d').iterdir())", EIO),
    truncate="`write_text` opens with O_TRUNC; pathlib calls no truncate",
    lock="pathlib has no locks",
    close=py("close:error=EIO:path=f", "from pathlib import Path; Path('f').read_text()", EIO),
)

SHUTIL = row(
    "Python shutil",
    open=py("open:error=EACCES:path=g", "import shutil; shutil.copy('f', 'g')", EACCES),
    read=py("read:error=EIO:path=f", "import shutil; shutil.copyfile('f', 'g')", EIO),
    write=py("write:error=ENOSPC:path=g", "import shutil; shutil.copyfile('f', 'g')", ENOSPC),
    fsync="shutil has no sync",
    rename=py("rename:error=EXDEV:from=f", "import os, shutil; i = os.stat('f').st_ino; shutil.move('f', 'g'); print('moved' if os.stat('g').st_ino == i else 'copied')", "copied"),
    unlink=py("unlink:error=EPERM:path=d/a", "import shutil; shutil.rmtree('d')", r"Errno 1\]"),
    mkdir=py("mkdir:error=ENOSPC:path=e/sub", "import shutil; shutil.copytree('d', 'e')", ENOSPC),
    stat=py("stat:error=EIO:path=f", "import shutil; shutil.copystat('f', 'd/a')", EIO),
    readdir=py("readdir:error=EIO:path=d", "import shutil; shutil.copytree('d', 'e')", EIO),
    truncate="copies open their target with O_TRUNC",
    lock="shutil has no locks",
    close=py("close:error=EIO:path=g", "import shutil; shutil.copyfile('f', 'g')", EIO),
)

DATABASE = "import sqlite3; sqlite3.connect('b').executescript('create table t(x); insert into t values (1)').close()"
QUERY = "import sqlite3; c = sqlite3.connect('b'); print(c.execute('select count(*) from t').fetchall())"
INSERT = "import sqlite3; c = sqlite3.connect('b'); c.execute('insert into t values (2)'); c.commit()"
MAKE = f"{{ python3 -c \"{DATABASE}\"; }}"

SQLITE = row(
    "Python sqlite3",
    open=py("open:error=EACCES:path=b", QUERY, "unable to open database file", prepare=MAKE),
    read=py("read:error=EIO:path=b", QUERY, "disk I/O error", prepare=MAKE),
    write=py("write:error=ENOSPC:path=b-journal", INSERT, "database or disk is full", prepare=MAKE),
    fsync=py("fsync:error=EIO:path=b-journal", INSERT, "disk I/O error", prepare=MAKE),
    rename="SQLite deletes its journal, it does not rename",
    unlink=py("unlink:error=EIO:path=b-journal", INSERT, "disk I/O error", prepare=MAKE),
    mkdir="SQLite makes no directories",
    stat=py("stat:call=fstat:error=EIO:path=b", QUERY, "disk I/O error", prepare=MAKE),
    readdir="SQLite lists no directories",
    truncate=py("truncate:error=EIO:path=b-journal", INSERT.replace("c.execute", "c.execute('pragma journal_mode=truncate'); c.execute"), "disk I/O error", prepare=MAKE),
    lock=py("lock:error=EACCES:path=b", INSERT, "database is locked", prepare=MAKE),
    close=py("close:error=EIO:path=b", QUERY, None, prepare=MAKE, ignored="SQLite only logs it"),
)

MAP = "import mmap, os; s = open('f', 'r+b'); m = mmap.mmap(s.fileno(), 0); m[0:1] = b'X'; m.flush()"
MMAP = row(
    "Python mmap",
    open=py("open:error=EACCES:path=f", MAP, EACCES),
    read="pages are read by touching them",
    write="pages are written by touching them",
    fsync=py("fsync:call=msync:error=EIO", MAP, EIO),
    rename="a mapping does not rename",
    unlink="a mapping does not unlink",
    mkdir="a mapping does not make directories",
    stat=py("stat:error=EIO:path=f", MAP, r"Errno 22\]"),
    readdir="a mapping does not list directories",
    truncate=py("truncate:error=EIO:path=f", MAP + "; m.resize(20000)", EIO),
    lock="a mapping has no locks",
    close=py("close:error=EIO:path=f", MAP + "; s.close()", EIO),
)

PYTHON = [OPEN, OS, PATHLIB, SHUTIL, SQLITE, MMAP]

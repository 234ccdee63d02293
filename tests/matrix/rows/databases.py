"""Programs that promise to keep data: the sqlite3 shell and redis-server."""

from __future__ import annotations

from tests.matrix.model import Fails, row

MAKE = "sqlite3 b 'create table t(x); insert into t values (1)'"
FULL, IO = "database or disk is full", "disk I/O error"


def sql(rule: str, statements: str, reaction: str | None, ignored: str = "") -> Fails:
    return Fails(rule, ["sqlite3", "-bail", "b", statements], reaction, MAKE, ignored)


SQLITE = row(
    "sqlite3",
    needs=("sqlite3",),
    open=sql("open:error=EACCES:path=b", "select * from t", "unable to open database"),
    read=sql("read:error=EIO:path=b", "select * from t", IO),
    write=sql("write:error=ENOSPC:path=b-journal", "insert into t values (2)", FULL),
    fsync=sql("fsync:error=EIO:path=b-journal", "insert into t values (2)", IO),
    rename="SQLite deletes its journal, it does not rename",
    unlink=sql("unlink:error=EIO:path=b-journal", "insert into t values (2)", IO),
    mkdir="SQLite makes no directories",
    stat=sql("stat:call=fstat:error=EIO:path=b", "select * from t", IO),
    readdir="SQLite lists no directories",
    truncate=sql("truncate:error=EIO:path=b-journal", "pragma journal_mode=truncate; insert into t values (2)", IO),
    lock=sql("lock:error=EACCES:path=b", "insert into t values (2)", "database is locked"),
    close=sql("close:error=EIO:path=b", "select * from t", "os_unix.*close|close.*I/O|Input/output|disk I/O error|^1$", ignored="SQLite only logs it"),
)

SERVER = """
redis-server --port 0 --unixsocket {dir}/s --dir {dir} --appendonly yes --appendfsync always --save '' --daemonize no > log 2>&1 &
server=$!
for i in $(seq 200); do [ -S s ] && redis-cli -s s ping > /dev/null 2>&1 && break; kill -0 $server 2>/dev/null || break; sleep 0.05; done
redis-cli -s s set key value 2>&1
MORE
redis-cli -s s shutdown nosave > /dev/null 2>&1 || kill -9 $server 2>/dev/null
wait $server
cat log
"""


ONCE = SERVER.replace("MORE", "").replace("{dir}", "$PWD").replace("cat log", "rm log")
REWRITE = "redis-cli -s s bgrewriteaof; for i in $(seq 100); do redis-cli -s s info persistence | grep -q aof_rewrite_in_progress:0 && break; sleep 0.05; done; sleep 0.3"

def redis(rule: str, reaction: str | None, more: str = "", prepare: str = "", ignored: str = "") -> Fails:
    return Fails(rule, ["bash", "-c", SERVER.replace("MORE", more)], reaction, prepare, ignored)


REDIS = row(
    "redis-server, AOF",
    needs=("redis-server", "redis-cli"),
    open=redis("open:error=EACCES:path=*/appendonly.aof*", "Can't open|Permission denied"),
    read=redis("read:error=EIO:path=*.manifest", "Read AOF manifest failed", prepare=ONCE),
    write=redis("write:error=ENOSPC:path=*.aof", "No space left on device|MISCONF"),
    fsync=redis("fsync:error=EIO:path=*.incr.aof", "Input/output error"),
    rename=redis("rename:error=EACCES:path=*.manifest", "Permission denied"),
    unlink=redis("unlink:error=EACCES:path=s", "Error removing the unix socket file", more=REWRITE),
    mkdir=redis("mkdir:error=EACCES:path=*/appendonlydir", "Permission denied"),
    stat=redis("stat:error=EACCES:path=*/appendonlydir*", "Permission denied"),
    readdir="redis knows the names of its files",
    truncate="a whole file is not truncated",
    lock="redis locks only in cluster mode",
    close=redis("close:error=EIO:path=*.aof", "x", ignored="redis does not look at close"),
)

DATABASES = [SQLITE, REDIS]

sqlite3 a.db <<'SQL'
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<5000) INSERT INTO t SELECT i, 'value '||i FROM c;
CREATE INDEX tv ON t(v);
BEGIN; UPDATE t SET v = v || '!' WHERE id % 7 = 0; ROLLBACK;
DELETE FROM t WHERE id % 3 = 0; VACUUM; PRAGMA integrity_check; SELECT count(*), sum(length(v)) FROM t;
PRAGMA journal_mode=WAL; INSERT INTO t VALUES(100000, 'wal'); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;
ATTACH 'b.db' AS b; CREATE TABLE b.u AS SELECT * FROM t LIMIT 10; DETACH b;
.backup c.db
.output dump.sql
.dump
.output stdout
INSERT INTO missing VALUES(1);
SQL
echo status $?
sqlite3 b.db 'SELECT * FROM u'; sqlite3 c.db 'PRAGMA integrity_check; SELECT count(*) FROM t'
printf '%s\n' 'BEGIN EXCLUSIVE;' ".shell sqlite3 a.db 'DELETE FROM t'" 'ROLLBACK;' | sqlite3 a.db; echo status $?
chmod 444 b.db; sqlite3 'file:b.db?mode=ro' 'DELETE FROM u'; echo status $?

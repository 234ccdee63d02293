redis-server --port 0 --unixsocket r.sock --appendonly yes --appendfsync always --save '' --dir "$PWD" --daemonize no --logfile log --loglevel warning &
for i in $(seq 200); do redis-cli -s r.sock ping > /dev/null 2>&1 && break; sleep 0.05; done
for i in $(seq 1 30); do echo "SET key$i value$i"; done | redis-cli -s r.sock > replies; sort replies | uniq -c
redis-cli -s r.sock <<'EOF'
LPUSH l a b c
LRANGE l 0 -1
MULTI
INCR n
INCR n
EXEC
DBSIZE
SET
BGREWRITEAOF
EOF
for i in $(seq 200); do redis-cli -s r.sock info persistence | grep -q 'aof_rewrite_in_progress:0' && break; sleep 0.05; done
redis-cli -s r.sock set after rewrite; redis-cli -s r.sock shutdown nosave; wait; echo $?
cat appendonlydir/*.incr.aof; ls appendonlydir; rm -rf appendonlydir log r.sock

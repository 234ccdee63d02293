cat > p.py <<'EOF'
import asyncio, concurrent.futures as cf, fcntl, json, mmap, multiprocessing as mp, os, pathlib, shutil, sqlite3, subprocess, sys, tempfile, threading, time
def square(n): return n * n
def main():
    p = pathlib.Path('tasks.json'); p.write_text(json.dumps(list(range(1000)))); print(len(json.loads(p.read_text())))
    with open('lock', 'w') as f: fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_EX); os.fsync(f.fileno())
    with mmap.mmap(os.open('tasks.json', os.O_RDWR), 0) as m: m[0:1] = b'{'; m.flush()
    shutil.copytree('.', 'copy', ignore=lambda d, n: ['copy']); shutil.move('copy', 'moved'); print(sorted(os.listdir('moved')))
    for method in ('fork', 'spawn', 'forkserver'):
        with mp.get_context(method).Pool(2) as pool: print(method, pool.map(square, range(5)))
    with cf.ThreadPoolExecutor(8) as pool: print(sum(pool.map(lambda i: pathlib.Path(f't{i}').write_text(str(i)), range(64))))
    async def talk():
        child = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1); print((await child.communicate(b'async'))[0]); await asyncio.sleep(0.01)
    asyncio.run(talk()); print(subprocess.run(['sh', '-c', 'exit 3'], close_fds=True).returncode, subprocess.run('echo $X', shell=True, env={'X': 'y'}, capture_output=True).stdout)
    print(os.system('exit 2') >> 8, os.popen('echo popen').read().strip(), os.waitstatus_to_exitcode(os.waitpid(os.spawnvp(os.P_NOWAIT, 'true', ['true']), 0)[1]))
    c = sqlite3.connect('x.db'); c.execute('create table t(a)'); c.executemany('insert into t values(?)', [(i,) for i in range(100)]); c.commit(); print(c.execute('select sum(a) from t').fetchone())
    condition = threading.Condition()
    with condition: print(condition.wait(0.01))
    try: open('/dev/full', 'w').write('x' * 10000)
    except OSError as e: print(e.errno)
    os.close_range(3, 4096); print(open('tasks.json').read(1)); os.write(1, b'last\n'); sys.exit(5)
if __name__ == '__main__': main()
EOF
"$PYTHON" -X faulthandler p.py; echo $?; rm -rf __pycache__

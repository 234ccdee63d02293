cat > n.js <<'EOF'
const fs = require('fs'), cp = require('child_process'), path = require('path'), { Worker } = require('worker_threads');
fs.writeFileSync('a', 'x'.repeat(100000)); fs.appendFileSync('a', 'y'); console.log(fs.statSync('a').size); fs.copyFileSync('a', 'b'); fs.renameSync('b', 'c');
const fd = fs.openSync('d', 'w+'); fs.writeSync(fd, 'hello', 3); fs.fsyncSync(fd); fs.ftruncateSync(fd, 6); fs.closeSync(fd); console.log(JSON.stringify(fs.readFileSync('d', 'utf8')));
try { fs.readFileSync('nothing') } catch (e) { console.log(e.message) } try { fs.writeFileSync('/dev/full', 'x') } catch (e) { console.log(e.code) }
fs.mkdirSync('e/f/g', { recursive: true }); fs.symlinkSync('a', 'l'); console.log(fs.readlinkSync('l'), fs.readdirSync('.').sort().join()); fs.rmSync('e', { recursive: true });
(async () => {
  await fs.promises.writeFile('p', 'promised'); console.log(await fs.promises.readFile('p', 'utf8')); const h = await fs.promises.open('p', 'r+'); await h.write('P', 0); await h.sync(); await h.close();
  await Promise.all([...Array(50).keys()].map(i => fs.promises.writeFile('q' + i, String(i)))); console.log((await Promise.all([...Array(50).keys()].map(i => fs.promises.readFile('q' + i, 'utf8')))).join());
  await new Promise(done => fs.createReadStream('a').pipe(fs.createWriteStream('s')).on('finish', done)); console.log(fs.statSync('s').size);
  console.log(cp.execSync('echo child').toString().trim(), cp.spawnSync('sh', ['-c', 'exit 9']).status); await new Promise(done => cp.spawn('cat', { stdio: ['pipe', 'inherit', 'inherit'] }).on('close', done).stdin.end('spawned\n'));
  await new Promise(done => new Worker("require('fs').writeFileSync('w', 'worker')", { eval: true }).on('exit', done)); console.log(fs.readFileSync('w', 'utf8'));
  await new Promise(done => setTimeout(done, 20)); const k = cp.spawn('sleep', ['60']); k.kill(); console.log(await new Promise(done => k.on('exit', (c, s) => done(s)))); process.exitCode = 6;
})();
EOF
node n.js; echo $?

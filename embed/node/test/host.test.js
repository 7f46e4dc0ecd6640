'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { Lines, eventually, fetchText, freePort, soon, startProgram } = require('./harness.js');

test("Node's own loop goes on beside ours: timers, files, child processes, servers, in workers and in the master", async (t) => {
  const [port, other] = [await freePort(), await freePort()];
  const program = await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     const { execFile, execFileSync } = require('node:child_process');
     const fs = require('node:fs/promises');
     const http = require('node:http');
     const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { count: 2 });
     let ticks = 0;
     worker.on('workerStart', () => void setInterval(() => (ticks += 1), 5));
     worker.on('request', async (request) => {
       const child = await new Promise((resolve) => execFile('sh', ['-c', 'echo from a child; exit 7'], (error, out) => resolve(out.trim() + ' ' + error.code)));
       const sync = execFileSync('echo', ['at once']).toString().trim();
       const file = (await fs.readFile(__filename, 'utf8')).length > 0;
       return JSON.stringify({ child, sync, file, ticks });
     });
     run(worker);
     if (hive.isMaster) {
       http.createServer((request, response) => execFile('echo', ['master'], (error, out) => response.end(out))).listen(Number(process.env.OTHER), '127.0.0.1');
     }`,
    { env: { PORT: port, OTHER: other } },
  );
  const first = JSON.parse((await fetchText(port, '/')).text);
  assert.deepEqual({ ...first, ticks: 0 }, { child: 'from a child 7', sync: 'at once', file: true, ticks: 0 });
  await eventually('the interval runs while nothing else happens', async () => JSON.parse((await fetchText(port, '/')).text).ticks > 10);
  assert.equal((await fetchText(other, '/')).text, 'master\n');
  // The master's server holds the process no longer than the hive lives.
  assert.equal((await program.stop()).code, 0);
});

test("the program's own handlers of signals run, and the hive obeys all the same", async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     process.on('SIGTERM', () => hive.log('info', 'own SIGTERM in ' + hive.role));
     process.on('SIGWINCH', () => hive.log('info', 'own SIGWINCH'));
     process.on('SIGUSR1', () => hive.log('info', 'own SIGUSR1 in ' + hive.role));
     const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { count: 1 });
     worker.on('request', () => String(process.pid));
     worker.on('workerStop', async () => { await new Promise((resolve) => setTimeout(resolve, 20)); hive.log('info', 'stopped after a pause'); });
     run(worker);`,
    { env: { PORT: port } },
  );
  const pid = Number((await fetchText(port, '/')).text);
  process.kill(pid, 'SIGWINCH');
  await program.logged('own SIGWINCH');
  // A worker that is told to end finishes, and is replaced.
  process.kill(pid, 'SIGTERM');
  await program.logged('own SIGTERM in worker');
  await program.logged('stopped after a pause');
  await eventually('another process', async () => Number((await fetchText(port, '/')).text) !== pid);
  // SIGUSR1 reloads: it is not Node's inspector that gets it.
  program.child.kill('SIGUSR1');
  await program.logged('own SIGUSR1 in master');
  await program.logged('stopped after a pause', 2);
  assert.ok(!program.log.includes('Debugger listening'));
  assert.equal((await program.stop()).code, 0);
  await program.logged('own SIGTERM in master');
});

test('an ES module with top-level await: run() is fulfilled with the exit code', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `import workhive, { Worker, hive, run } from 'workhive';
     import { readFile } from 'node:fs/promises';
     const text = await readFile(new URL(import.meta.url), 'utf8');
     const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { count: 2 });
     worker.on('request', () => String(text.length));
     const code = await run(worker);
     console.log(hive.role, 'is over with', code, workhive.run === run);`,
    { env: { PORT: port }, file: 'app.mjs' },
  );
  const length = fs.statSync(path.join(program.folder, 'app.mjs')).size;
  assert.equal((await fetchText(port, '/')).text, String(length));
  assert.equal((await program.stop()).code, 0);
  await program.logged('worker is over with 0 true', 2);
  await program.logged('master is over with 0 true');
});

test('an async workerStart holds readiness back; one that fails fails the start with its stack', async (t) => {
  const port = await freePort();
  const text = `
    const { Worker, hive, run } = require('workhive');
    const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { count: 2 });
    let config;
    worker.on('workerStart', async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (process.env.FAIL) throw new Error('no configuration');
      config = 'read';
    });
    worker.on('request', () => String(config));
    run(worker);`;
  await startProgram(t, text, { env: { PORT: port } });
  assert.equal((await fetchText(port, '/')).text, 'read');
  const failing = await startProgram(t, text, { env: { PORT: await freePort(), FAIL: 'yes' }, ready: false });
  assert.equal((await soon('the end of the start', failing.exited)).code, 1);
  assert.match(failing.log, /Error: no configuration/);
  assert.match(failing.log, /at async|at Worker|app\.js/);
});

test('verbs end the process with their exit code, and start -d makes a daemon', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { count: 2 });
     worker.on('request', () => String(process.ppid));
     run(worker, { name: 'verbs', about: 'A program of the tests.' });
     console.log('still here');`,
    { env: { PORT: port }, ready: false, args: ['-d'] },
  );
  const started = await soon('the start', program.exited);
  assert.deepEqual([started.code, program.log.includes('still here')], [0, false], program.log);
  t.after(() => program.verb('stop'));
  const master = (await fetchText(port, '/')).text;
  assert.match(program.log, new RegExp(`pid ${master}`));
  const status = await program.verb('status', '--json');
  assert.equal(status.code, 0);
  assert.equal(JSON.parse(status.stdout).workers.filter((worker) => worker.group === 'http').length, 2);
  assert.equal((await program.verb('reload')).code, 0);
  assert.equal((await fetchText(port, '/')).text, master);
  assert.match((await program.verb('--help')).stdout, /A program of the tests/);
  assert.equal((await program.verb('nonsense')).code, 2);
  assert.equal((await program.verb('stop')).code, 0);
  assert.equal((await program.verb('status')).code, 3);
});

test('an error in a timer of the hive is logged, and ends nothing', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     const worker = new Worker('text://127.0.0.1:' + process.env.PORT);
     worker.on('message', (conn, line) => {
       hive.after(1, () => { throw new Error('a timer throws'); });
       hive.after(1, async () => { throw new Error('a timer rejects'); });
       let fired = 0;
       hive.every(1, (timer) => { fired += 1; if (fired === 3) { timer.cancel(); conn.send('fired ' + fired); } });
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  const lines = await Lines.open(t, port);
  assert.equal(await lines.ask('go'), 'fired 3');
  await program.logged('Error: a timer throws');
  await program.logged('Error: a timer rejects');
  assert.equal(await lines.ask('go'), 'fired 3');
});

test('log lines go to a function of the program', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     const worker = new Worker('http://127.0.0.1:' + process.env.PORT);
     worker.on('request', () => { hive.log('warn', 'a word of warning'); return 'ok'; });
     run(worker, { log: (level, text) => console.log('<' + level + '> ' + text) });`,
    { env: { PORT: port } },
  );
  assert.equal((await fetchText(port, '/')).text, 'ok');
  await program.logged('<warn> a word of warning');
});

test('workhive run --attach starts the program, whose only worker sits on the place that it has', { skip: !process.env.WORKHIVE_PROGRAM && 'WORKHIVE_PROGRAM does not name the program workhive' }, async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, attach, hive } = require('workhive');
     const worker = new Worker('http://127.0.0.1:1');
     worker.on('request', () => hive.role + ' ' + hive.place.count);
     attach(worker);`,
    { ready: false },
  );
  // Without a place there is nothing to take.
  assert.notEqual((await soon('the end', program.exited)).code, 0);
  assert.match(program.log, /WH_ERR_NO_SEAT/);
  const options = ['run', '--attach', '--count', '2', '--name', 'attached', '--listen', `tcp://127.0.0.1:${port}`, '--', process.execPath, program.file];
  const master = spawn(process.env.WORKHIVE_PROGRAM, options, { cwd: program.folder, env: program.env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(master, 'exit');
  t.after(() => master.kill('SIGKILL'));
  master.stdout.resume();
  master.stderr.setEncoding('utf8').on('data', (data) => (program.log += data));
  await eventually(`an answer; the log:\n${program.log}`, async () => (await fetchText(port, '/')).text === 'worker 2');
  master.kill('SIGTERM');
  assert.deepEqual(await soon('the end of the hive', exited), [0, null]);
});

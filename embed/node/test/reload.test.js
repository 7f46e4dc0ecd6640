'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const test = require('node:test');
const { Client, eventually, fetchText, freePort, startProgram } = require('./harness.js');

const RELOADS = 20;

const version = (number) => `
  const { Worker, run } = require('workhive');
  const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { name: 'web', count: 4 });
  worker.on('request', async () => { await new Promise((resolve) => setTimeout(resolve, 1)); return 'version ${number}'; });
  run(worker);
`;

/** Asks one after another on a kept connection, until it is told to end. */
async function load(port, seen, going) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  while (going.on) {
    const { status, text } = await fetchText(port, '/', { agent });
    assert.equal(status, 200);
    seen.set(text, (seen.get(text) ?? 0) + 1);
  }
  agent.destroy();
}

/**
 * Until many new connections in a row get this text. One that an old process has accepted just before it heard that it is
 * replaced gets the old one; but each gets an answer.
 */
async function served(port, wanted) {
  const end = Date.now() + 30_000;
  for (let inARow = 0; inARow < 8; ) {
    const { text } = await fetchText(port, '/');
    inARow = text === wanted ? inARow + 1 : 0;
    assert.ok(Date.now() < end, `${wanted} is not served, but ${text}`);
  }
}

test('twenty reloads under load, the program edited in between: no request is lost, and the new text is served', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, version(0), { env: { PORT: port } });
  const seen = new Map();
  const going = { on: true };
  const clients = Array.from({ length: 4 }, () => load(port, seen, going));
  const all = Promise.all(clients);
  all.catch(() => {});
  try {
    for (let number = 1; number <= RELOADS; number += 1) {
      const file = path.join(program.folder, program.file);
      fs.writeFileSync(`${file}.new`, version(number));
      fs.renameSync(`${file}.new`, file);
      const reload = await program.verb('reload');
      assert.equal(reload.code, 0, reload.stderr + program.log);
      await served(port, `version ${number}`);
    }
  } finally {
    going.on = false;
  }
  await all;
  for (let number = 1; number <= RELOADS; number += 1) assert.ok(seen.get(`version ${number}`) > 0, `version ${number} was served`);
  assert.equal((await program.stop()).code, 0);
});

test('a program that has become broken replaces nothing that works', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, version(1), { env: { PORT: port } });
  fs.writeFileSync(path.join(program.folder, program.file), 'const {;');
  // By its signal: the verb would run the broken program, too.
  program.child.kill('SIGUSR1');
  await program.logged('SyntaxError');
  await program.logged('reload failed');
  assert.equal((await fetchText(port, '/')).text, 'version 1');
});

test('WebSocket clients are told goodbye with 1012 by a process that is replaced, after the last words of the program', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT, { count: 1, drain: 500 });
     worker.on('message', (conn, message) => { conn.send(message); });
     worker.on('goodbye', (conn) => { conn.send('come back'); });
     run(worker);`,
    { env: { PORT: port } },
  );
  const client = await Client.open(t, port);
  assert.equal(await client.ask('hello'), 'hello');
  assert.equal((await program.verb('reload')).code, 0);
  assert.equal(await client.next(), 'come back');
  assert.equal((await client.closed).code, 1012);
  const again = await Client.open(t, port);
  assert.equal(await again.ask('hello'), 'hello');
});

test('a process that is killed is replaced, and Node programs leave no process behind', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { count: 2 });
     worker.on('workerStart', () => { setInterval(() => {}, 1000); });
     worker.on('request', () => String(process.pid));
     run(worker);`,
    { env: { PORT: port } },
  );
  const pids = new Set();
  await eventually('both processes have answered', async () => pids.add((await fetchText(port, '/')).text).size === 2);
  const [victim] = pids;
  process.kill(Number(victim), 'SIGKILL');
  await eventually('two processes without the dead one', async () => {
    const { text } = await fetchText(port, '/').catch(() => ({ text: victim }));
    if (text !== victim) pids.add(text);
    return pids.size === 3;
  });
  assert.equal((await program.stop()).code, 0);
  for (const pid of pids) assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' });
});

test('an upgrade replaces the master, too; the new program serves, and nobody is refused in between', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, version(1), { env: { PORT: port }, args: ['-d'], ready: false });
  assert.equal((await program.exited).code, 0, program.log);
  t.after(() => program.verb('stop'));
  const before = JSON.parse((await program.verb('status', '--json')).stdout).pid;
  const seen = new Map();
  const going = { on: true };
  const client = load(port, seen, going);
  client.catch(() => {});
  fs.writeFileSync(path.join(program.folder, program.file), version(2));
  const upgrade = await program.verb('upgrade');
  assert.equal(upgrade.code, 0, upgrade.stderr);
  await eventually('the new text', async () => (await fetchText(port, '/')).text === 'version 2');
  going.on = false;
  await client;
  const after = JSON.parse((await program.verb('status', '--json')).stdout).pid;
  assert.notEqual(after, before);
  assert.equal((await program.verb('stop', '-g')).code, 0);
});

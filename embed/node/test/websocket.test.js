'use strict';
const assert = require('node:assert/strict');
const test = require('node:test');
const { Client, Lines, eventually, freePort, soon, startProgram } = require('./harness.js');

const ECHO = `
  const { Worker, hive, run } = require('workhive');
  const { setTimeout: sleep } = require('node:timers/promises');
  const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT, { name: 'echo', count: Number(process.env.COUNT ?? 1) });
  function deeper() { throw new Error('told to fail', { cause: new Error('the deeper reason') }); }
  worker.on('message', async (conn, message, isText) => {
    if (message === 'who') return void conn.send(String(process.pid));
    if (message === 'throw') deeper();
    if (message === 'reject') { await sleep(5); deeper(); }
    if (message === 'cut') return conn.destroy();
    if (message === 'bye') return conn.close(4000, 'as asked');
    conn.send(isText ? message : Buffer.from(message));
  });
  worker.on('close', (conn, info) => hive.log('info', 'closed ' + JSON.stringify(info)));
  worker.on('error', (conn, error) => hive.log('info', 'error of kind ' + error.kind));
  run(worker);
`;

test('text comes back as text, bytes as bytes, in their order', async (t) => {
  const port = await freePort();
  await startProgram(t, ECHO, { env: { PORT: port } });
  const client = await Client.open(t, port);
  const messages = ['', 'plain', 'grüß Gott 😀', Buffer.from([0, 255, 10, 13]), 'x'.repeat(70_000), Buffer.alloc(100_000, 7), 'é'.repeat(2046)];
  for (const message of messages) client.send(message);
  for (const message of messages) assert.deepEqual(await client.next(), message);
});

test('what a handler throws or rejects ends that one connection with 1011, and the whole stack is in the log', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, ECHO, { env: { PORT: port } });
  const witness = await Client.open(t, port);
  const pid = await witness.ask('who');
  for (const word of ['throw', 'reject']) {
    const client = await Client.open(t, port);
    client.send(word);
    assert.equal((await soon('a close', client.closed)).code, 1011);
  }
  await program.logged('Error: told to fail', 2);
  await program.logged('at deeper', 2);
  await program.logged('the deeper reason', 2);
  await program.logged('error of kind callback', 2);
  assert.equal(await witness.ask('who'), pid);
});

test('codes and reasons of closes reach the other side', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, ECHO, { env: { PORT: port } });
  const first = await Client.open(t, port);
  first.send('bye');
  assert.deepEqual(await soon('a close', first.closed), { code: 4000, reason: 'as asked' });
  const second = await Client.open(t, port);
  second.socket.close(4321, 'enough');
  await program.logged('"code":4321,"peerReason":"enough"');
  const third = await Client.open(t, port);
  third.send('cut');
  assert.equal((await soon('a close', third.closed)).code, 1006);
});

test('a handshake is refused, given a subprotocol and header fields', async (t) => {
  const port = await freePort();
  await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT);
     worker.on('websocketConnect', (conn, request, handshake) => {
       conn.data = request.searchParams.get('name');
       if (request.headers.COOKIE === undefined) return void handshake.refuse(401, 'who are you?');
       handshake.subprotocol('second').header('X-Seen', request.header('cookie'));
     });
     worker.on('websocketConnected', (conn) => conn.send('hello ' + conn.data));
     worker.on('message', () => {});
     run(worker);`,
    { env: { PORT: port } },
  );
  const refused = new Client(`ws://127.0.0.1:${port}/`);
  const status = await soon('an answer', new Promise((resolve) => refused.socket.once('unexpected-response', (_, response) => resolve(response.statusCode))));
  assert.equal(status, 401);
  const client = new Client(`ws://127.0.0.1:${port}/?name=ann`, { protocols: ['first', 'second'], headers: { Cookie: 'a=b' } });
  t.after(() => client.socket.terminate());
  const headers = await soon('an upgrade', new Promise((resolve) => client.socket.once('upgrade', (response) => resolve(response.headers))));
  assert.equal(headers['x-seen'], 'a=b');
  assert.equal(await client.next(), 'hello ann');
  assert.equal(client.socket.protocol, 'second');
});

test('a push reaches a user in any of four processes, and the sender learns what became of it', async (t) => {
  const [port, lines] = [await freePort(), await freePort()];
  await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     const push = new Worker('websocket://127.0.0.1:' + process.env.PORT, { count: 4, reusePort: true });
     push.on('workerStart', () => {
       const text = new Worker('text://127.0.0.1:' + process.env.LINES, { reusePort: true });
       text.on('message', async (conn, line) => {
         const [uid, ...words] = line.split(' ');
         conn.send(JSON.stringify(await hive.sendToUid(uid, words.join(' '))));
       });
       text.listen();
     });
     push.on('message', async (conn, message) => {
       if (conn.uid === undefined) { if (await conn.bindUid(message)) conn.send('bound ' + hive.place.slot); return; }
       if (message === 'room') { await conn.joinRoom('lobby'); return void conn.send(JSON.stringify(conn.rooms)); }
       if (message === 'others') return void hive.sendToRoom('lobby', 'from ' + conn.uid, { except: [conn] }).then((outcome) => conn.send('heard by ' + outcome.delivered));
       const [online, { names }, size, { count }] = await Promise.all([hive.isUidOnline(message), hive.uids(), hive.roomSize('lobby'), hive.onlineCount()]);
       conn.send(JSON.stringify({ online, names: names.sort(), size: size.count, count }));
     });
     run(push);`,
    { env: { PORT: port, LINES: lines } },
  );
  const slots = new Set();
  const clients = [];
  // Until two processes have one each: the kernel spreads them.
  while (slots.size < 2) {
    const client = await Client.open(t, port);
    clients.push(client);
    slots.add(await client.ask(`user${clients.length}`));
  }
  const sender = await Lines.open(t, lines);
  for (let number = 1; number <= clients.length; number += 1) {
    const outcome = JSON.parse(await sender.ask(`user${number} hello ${number}`));
    assert.deepEqual(outcome, { delivered: 1, refused: 0, unknown: false, unrouted: false, isDelivered: true });
    assert.equal(await clients[number - 1].next(), `hello ${number}`);
  }
  assert.equal(JSON.parse(await sender.ask('nobody hello')).isDelivered, false);
  for (const client of clients) assert.equal(await client.ask('room'), '["lobby"]');
  assert.equal(await clients[0].ask('others'), `heard by ${clients.length - 1}`);
  assert.equal(await clients[1].next(), 'from user1');
  const names = clients.map((_, at) => `user${at + 1}`).sort();
  // The client of lines is one of all, too.
  const said = JSON.parse(await clients[0].ask('user2'));
  assert.deepEqual(said, { online: true, names, size: clients.length, count: clients.length + 1 });
});

test('a slow reader: sends are refused whole, drained() tells when they are taken again', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT, { maxSendBuffer: 65536 });
     worker.on('bufferFull', () => hive.log('info', 'buffer is full'));
     worker.on('message', async (conn) => {
       const chunk = Buffer.alloc(16384, 1);
       let waits = 0;
       await conn.drained();
       for (let sent = 0; sent < 2000; ) {
         if (conn.send(chunk)) { sent += 1; continue; }
         waits += 1;
         await conn.drained();
       }
       conn.send('waited ' + (waits > 0));
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  const client = await Client.open(t, port);
  client.socket.pause();
  client.send('go');
  await program.logged('buffer is full');
  client.socket.resume();
  for (let got = 0; got < 2000; got += 1) assert.equal((await client.next()).length, 16384);
  assert.equal(await client.next(), 'waited true');
});

test('a connection that has ended does nothing for whoever kept it, also while somebody else has its place', async (t) => {
  const port = await freePort();
  await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT);
     let kept;
     worker.on('message', async (conn, message) => {
       if (message === 'keep') { kept = conn; return void conn.send('kept'); }
       const said = [kept.isOpen, kept.send('wrong'), kept.queued, kept.remoteAddress, kept.uid, await kept.bindUid('u'), kept.close(), kept.destroy(), kept.stats()];
       conn.send(JSON.stringify(said.map((value) => value ?? null)));
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  const first = await Client.open(t, port);
  await first.ask('keep');
  first.socket.close();
  await first.closed;
  const second = await Client.open(t, port);
  await eventually('the first one is gone', async () => {
    const said = JSON.parse(await second.ask('try'));
    return said[0] === false && assert.deepEqual(said, [false, false, 0, null, null, false, null, null, null]) === undefined;
  });
});

test('connections that have ended are given back: nothing of them stays in the process', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     require('node:v8').setFlagsFromString('--expose-gc');
     const gc = require('node:vm').runInNewContext('gc');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT);
     let alive = 0;
     const registry = new FinalizationRegistry(() => { alive -= 1; });
     worker.on('connect', (conn) => { alive += 1; registry.register(conn); });
     worker.on('message', async (conn, message) => {
       if (message === 'alive?') { gc(); await new Promise((resolve) => setImmediate(resolve)); return conn.send(String(alive)); }
       await conn.bindUid(message);
       conn.send(message);
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  for (let round = 0; round < 10; round += 1) {
    const clients = await Promise.all(Array.from({ length: 20 }, () => Client.open(t, port)));
    await Promise.all(clients.map((client, at) => client.ask(`user${at}`)));
    for (const client of clients) client.socket.close();
    await Promise.all(clients.map((client) => client.closed));
  }
  const last = await Client.open(t, port);
  await eventually('one connection', async () => Number(await last.ask('alive?')) === 1);
  last.socket.close();
  await last.closed;
  assert.equal((await program.stop()).code, 0);
});

test('bytes that a handler keeps stay what they were, however many messages follow', async (t) => {
  const port = await freePort();
  await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT);
     const kept = [];
     worker.on('message', (conn, message, isText) => {
       if (!isText) return kept.push(message);
       conn.send(String(kept.every((bytes, at) => bytes.length === (at * 37) % 5000 && bytes.every((byte) => byte === at % 256))) + kept.length);
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  const client = await Client.open(t, port);
  for (let at = 0; at < 1000; at += 1) client.send(Buffer.alloc((at * 37) % 5000, at % 256));
  client.send('good?');
  assert.equal(await Promise.race([client.next(), client.closed]), 'true1000');
});

test('who is where: connections of uids and rooms, their sessions, and how much there is in the hive', async (t) => {
  const port = await freePort();
  await startProgram(
    t,
    `const { Worker, hive, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT, { count: 2, reusePort: true, maxUids: 2 });
     worker.on('message', async (conn, message) => {
       const [uid, word] = message.split(' ');
       if (word === 'comes') {
         await conn.bindUid(uid);
         await conn.bindUid('all');
         conn.setSession('session of ' + uid);
         return conn.send(conn.id);
       }
       if (word === 'asks') {
         const { members } = await hive.membersOfUid('all');
         const ids = members.map(({ id }) => id).sort();
         const sessions = await Promise.all(ids.map(async (id) => String(await hive.sessionOf(id))));
         const { uids, rooms, processes } = await hive.totals();
         return conn.send(JSON.stringify({ ids, uids: members.find(({ id }) => id === conn.id).uids.sort(), own: conn.uids.sort(), sessions: sessions.sort(), totals: [uids, rooms, processes], all: (await hive.members()).members.length }));
       }
       if (word === 'gathers') {
         for (const { id } of (await hive.membersOfUid('all')).members) hive.joinConnection(id, 'room');
         return conn.send('gathered');
       }
       if (word === 'dismisses') { hive.dismissRoom('room'); return conn.send('dismissed'); }
       conn.send(String((await hive.membersOfRoom('room')).members.length));
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  const clients = await Promise.all(Array.from({ length: 8 }, () => Client.open(t, port)));
  const ids = await Promise.all(clients.map((client, at) => client.ask(`user${at} comes`)));
  const said = JSON.parse(await clients[0].ask('user0 asks'));
  assert.deepEqual(said.ids, [...ids].sort());
  assert.deepEqual([said.uids, said.own], [['all', 'user0'], ['all', 'user0']]);
  assert.deepEqual(said.sessions, clients.map((_, at) => `session of user${at}`));
  assert.deepEqual([said.totals, said.all], [[9, 0, 2], 8]);
  assert.equal(await clients[0].ask('user0 gathers'), 'gathered');
  await eventually('all are in the room', async () => (await clients[1].ask('user1 counts')) === '8');
  assert.equal(await clients[0].ask('user0 dismisses'), 'dismissed');
  await eventually('nobody is in the room', async () => (await clients[1].ask('user1 counts')) === '0');
});

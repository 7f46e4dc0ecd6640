'use strict';
// Push to a user by name, over four processes.
//
//   node push.js
//   in a browser:  ws = new WebSocket('ws://127.0.0.1:1234'); ws.onopen = () => ws.send('uid1');
//   printf '{"uid":"uid1","percent":"88%%"}\n' | nc -N 127.0.0.1 5678

const { Worker, hive, run } = require('workhive');

const push = new Worker(process.env.PUSH_WS ?? 'websocket://127.0.0.1:1234', { name: 'push', count: 4 });

push.on('workerStart', () => {
  // Each process opens the text port; with reusePort, all of them may.
  const text = new Worker(process.env.PUSH_TEXT ?? 'text://127.0.0.1:5678', { reusePort: true });
  text.on('message', async (conn, line) => {
    const { uid } = JSON.parse(line);
    const outcome = await hive.sendToUid(uid, line);
    conn.send(outcome.isDelivered ? 'ok' : 'fail');
  });
  text.listen();
});

// The first message is the user's id.
push.on('message', async (conn, message) => {
  if (conn.uid === undefined) await conn.bindUid(message);
});

run(push);

'use strict';
// A chat over any number of processes: rooms, who comes and goes, words for one alone.
//
//   node chat.js   # and open http://127.0.0.1:8080 in several windows; each shows its process

const fs = require('node:fs');
const path = require('node:path');
const { Response, Worker, hive, run } = require('workhive');

const address = process.env.CHAT_WS ?? '127.0.0.1:8081';
const port = address.slice(address.lastIndexOf(':') + 1);
const html = fs.readFileSync(path.join(__dirname, 'chat.html'), 'utf8').replace('WS_PORT', port);

const page = new Worker(`http://${process.env.CHAT_PAGE ?? '127.0.0.1:8080'}`, { name: 'page' });
page.on('request', (request) => (request.path === '/' ? Response.html(html) : new Response('', { status: 404 })));

const line = (who, what) => JSON.stringify({ line: `${who} ${what}` });

/** Every process is told who comes and goes; one of them passes it on. */
function tellAll(who, what) {
  if (hive.place.slot === 0) hive.sendToAll(line(who, what));
}

/** The first message: {"name":"ann","room":"lobby"}. */
async function enter(conn, { name, room }) {
  if (typeof name !== 'string' || typeof room !== 'string') throw new Error('a name and a room come first');
  conn.data = { room };
  await conn.bindUid(name);
  await conn.joinRoom(room);
  const { count } = await hive.roomSize(room);
  conn.send(JSON.stringify({ slot: hive.place.slot, here: count }));
}

const chat = new Worker(`websocket://${address}`, { name: 'chat', count: 4 });
chat.on('uidOnline', (name) => tellAll(name, 'is online'));
chat.on('uidOffline', (name) => tellAll(name, 'has gone'));
chat.on('message', async (conn, message) => {
  const said = JSON.parse(message);
  const name = conn.uid;
  if (name === undefined) return enter(conn, said);
  if (said.to === undefined) {
    await hive.sendToRoom(conn.data.room, line(name, `says: ${said.say}`));
    return;
  }
  const outcome = await hive.sendToUid(said.to, line(name, `says to you alone: ${said.say}`));
  if (!outcome.isDelivered) conn.send(line(said.to, 'is not there'));
});

run(page, chat);

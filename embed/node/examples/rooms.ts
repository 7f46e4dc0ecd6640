// Typed: a WebSocket server whose clients join a room and speak to it.
//
//   npx tsc --target es2022 --module commonjs --outDir . rooms.ts && node rooms.js

import { Worker, hive, run, type Connection } from 'workhive';

interface Member {
  room: string;
  said: number;
}

const rooms = new Worker<string, Member>(process.env.ROOMS ?? 'websocket://127.0.0.1:8082', { name: 'rooms', count: 2 });

async function enter(conn: Connection<Member>, room: string): Promise<void> {
  conn.data = { room, said: 0 };
  if (await conn.joinRoom(room)) conn.send(`welcome to ${room}`);
}

rooms.on('message', async (conn, message) => {
  if (conn.data === undefined) return enter(conn, message);
  conn.data.said += 1;
  const outcome = await hive.sendToRoom(conn.data.room, `${conn.data.said}: ${message}`, { except: [conn] });
  conn.send(`heard by ${outcome.delivered}`);
});

run(rooms, { about: 'Rooms, typed.' });

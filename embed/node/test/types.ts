// What the types must take, and what they must refuse: tsc checks it, nothing runs it.
import workhive = require('workhive');
import { type Connection, type Outcome, Response, Worker, hive, protocol, run } from 'workhive';

const socket = new Worker<string, { seen: number }>('websocket://127.0.0.1:1', { count: 4, reusePort: true });
socket.on('message', async (conn, message, isText) => {
  const upper: string = message.toUpperCase();
  const flag: boolean = isText;
  const taken: boolean = conn.send(upper + flag);
  conn.data = { seen: taken ? 1 : 0 };
  const outcome: Outcome = await hive.sendToUid('uid', Buffer.from('x'), { except: [conn] });
  conn.send(new Uint8Array(outcome.delivered));
});
socket.on('message', (conn, message) => conn.send(message));
socket.on('close', (conn: Connection, info) => hive.log('info', `${info.reason} ${info.code ?? 0}`));
socket.on('websocketConnect', (_conn, request, handshake) => {
  if (request.headers['origin'] === undefined) handshake.refuse(403).header('X', 1);
});
// @ts-expect-error a number is sent by no protocol of the package
socket.on('message', (conn) => conn.send(5));
// @ts-expect-error there is no such event
socket.on('mesage', () => {});
// @ts-expect-error there is no such option
new Worker('text://127.0.0.1:1', { counts: 4 });
// @ts-expect-error there is no such level
hive.log('notice', 'x');

const http = new Worker('http://127.0.0.1:1');
http.on('request', async (request) => {
  if (request.path === '/') return 'text';
  if (request.path === '/fetch') return globalThis.Response.json({});
  return Response.json({ q: request.searchParams.get('q') }, { status: 201, headers: { 'X-Number': 1 } });
});
http.on('request', (request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.end(request.body);
});
// @ts-expect-error a number is no answer
http.on('request', () => 42);

const counts = new Worker<number, undefined, number>('count://127.0.0.1:1');
counts.on('message', (conn, message) => conn.send(message + 1));
protocol<number>('count', { input: (bytes) => bytes.length, decode: (bytes) => bytes.length, encode: (value: number) => String(value) });
const over: Promise<number> = run(socket, http, { name: 'types', log: (level, text) => console.log(level, text) });
over.then((code) => workhive.hive.log('info', String(code)));

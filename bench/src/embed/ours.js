// Hello over HTTP, or an echo of WebSocket messages, on workhive.
'use strict';

const { Response, Worker, run } = require('workhive');

const [protocol, address] = process.argv.slice(2);
const worker = new Worker(`${protocol}://${address}`, { name: 'bench' });
if (protocol === 'http') {
  worker.on('request', () => new Response('Hello, World!', { headers: { 'Content-Type': 'text/plain' } }));
} else {
  worker.on('message', (connection, message) => connection.send(message));
}
run(worker, { argv: ['start'] });

// Hello over HTTP by Node itself, or an echo of WebSocket messages by the package ws.
'use strict';

const [protocol, address] = process.argv.slice(2);
const [host, port] = address.split(':');
if (protocol === 'http') {
  const server = require('http').createServer((request, response) => {
    response.setHeader('Content-Type', 'text/plain');
    response.end('Hello, World!');
  });
  server.listen(Number(port), host);
} else {
  const { WebSocketServer } = require('ws');
  const server = new WebSocketServer({ host, port: Number(port), perMessageDeflate: false });
  server.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
}
process.on('SIGTERM', () => process.exit(0));

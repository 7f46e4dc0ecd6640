// Plain Node: HTTP on the socket that is there already. SIGTERM: answer what has come, then end.
const http = require('http');
const net = require('net');

const server = http.createServer((request, response) => {
  const { WORKHIVE_SLOT: slot, LISTEN_FDS: fds, LISTEN_PID: pid } = process.env;
  const who = { slot, fds, pid, own: process.pid };
  response.end(request.url === '/who' ? JSON.stringify(who) : 'Hello, World!');
});
server.listen({ fd: 3 });
process.on('SIGTERM', () => server.close());

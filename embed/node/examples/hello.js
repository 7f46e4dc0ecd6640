'use strict';
// An HTTP server of four processes.
//
//   node hello.js            # and: curl http://127.0.0.1:8080/hello/you
//   node hello.js start -d   # as a daemon; then reload, status, stop

const { Response, Worker, run } = require('workhive');

const hello = new Worker(process.env.HELLO ?? 'http://127.0.0.1:8080', { name: 'hello', count: 4 });

hello.on('request', async (request) => {
  if (request.path === '/') return 'Hello, World!';
  const [, who] = /^\/hello\/(\w+)$/.exec(request.path) ?? [];
  if (who !== undefined) return Response.html(`<h1>Hello, ${who}!</h1>`);
  return Response.text('nothing here', { status: 404 });
});

run(hello);

'use strict';
const assert = require('node:assert/strict');
const net = require('node:net');
const http = require('node:http');
const test = require('node:test');
const { eventually, fetchText, freePort, soon, startProgram } = require('./harness.js');

const PAGES = `
  const { Response, Worker, hive, run } = require('workhive');
  const { setTimeout: sleep } = require('node:timers/promises');
  const worker = new Worker('http://127.0.0.1:' + process.env.PORT, { maxSendBuffer: 65536 });
  async function* chunks() { yield 'one '; await sleep(2); yield Buffer.from('two '); yield 'three'; }
  async function* many() { for (let at = 0; at < 500; at += 1) yield Buffer.alloc(16384, at % 256); }
  const pages = {
    '/text': () => 'grüß Gott',
    '/bytes': () => new Uint8Array([1, 2, 255]),
    '/json': (request) => Response.json({ got: request.json() }),
    '/html': () => Response.html('<p>', { status: 201, headers: { 'X-One': 1, 'Set-Cookie': ['a=1', 'b=2'] } }),
    '/redirect': () => Response.redirect('/text'),
    '/read': (request) => Response.json([request.method, request.url, request.path, request.query ?? null, request.searchParams.get('q'),
      request.headers['X-FIELD'], request.header('x-field'), 'x-field' in request.headers, request.httpVersion, request.text(), Object.keys(request.headers).includes('host')]),
    '/chunks': () => new Response(chunks()),
    '/many': () => new Response(many()),
    '/fetch': () => globalThis.Response.json({ standard: true }, { status: 202, headers: { 'X-Two': '2' } }),
    '/writer': (request, response) => { response.writeHead(203, { 'Content-Type': 'text/plain' }); response.setHeader('X-Three', 3); setTimeout(() => response.end('written'), 2); },
    '/pieces': (request, response) => { response.write('a'); setTimeout(() => { response.write('b'); response.end('c'); }, 2); },
    '/flood': async (request, response) => { for (let at = 0; at < 300; at += 1) { if (!response.write(Buffer.alloc(16384, 1))) await response.drained(); } response.end(); },
    '/wrong': () => 42,
    '/throw': () => { throw new TypeError('a page throws'); },
    '/reject': async () => { await sleep(2); throw new TypeError('a page rejects'); },
    '/inject': (request) => Response.text('ok').header('X-Case', request.text()),
    '/inject-name': (request) => Response.text('ok', { headers: { [request.text()]: 'x' } }),
    '/inject-writer': (request, response) => { response.setHeader('X-Case', request.text()); response.end(); },
  };
  worker.on('request', (request, response) => {
    const page = pages[request.path];
    if (page === undefined) return Response.text('nothing here', { status: 404 });
    return page(request, response);
  });
  run(worker);
`;

test('answers are what handlers return: strings, bytes, responses, promises, streams, those of fetch', async (t) => {
  const port = await freePort();
  await startProgram(t, PAGES, { env: { PORT: port } });
  const text = await fetchText(port, '/text');
  assert.deepEqual([text.status, text.text, text.headers['content-type']], [200, 'grüß Gott', 'text/plain; charset=utf-8']);
  assert.deepEqual([...(await fetchText(port, '/bytes')).bytes], [1, 2, 255]);
  const json = await fetchText(port, '/json', { method: 'POST', body: '{"a":[1]}' });
  assert.deepEqual([JSON.parse(json.text), json.headers['content-type']], [{ got: { a: [1] } }, 'application/json']);
  const html = await fetchText(port, '/html');
  assert.deepEqual([html.status, html.headers['x-one'], html.headers['set-cookie']], [201, '1', ['a=1', 'b=2']]);
  const redirect = await fetchText(port, '/redirect');
  assert.deepEqual([redirect.status, redirect.headers.location], [302, '/text']);
  assert.equal((await fetchText(port, '/chunks')).text, 'one two three');
  const standard = await fetchText(port, '/fetch');
  assert.deepEqual([standard.status, standard.text, standard.headers['x-two']], [202, '{"standard":true}', '2']);
  assert.equal((await fetchText(port, '/elsewhere')).status, 404);
});

test('a request has its method, path, query, header fields in any case, version and body', async (t) => {
  const port = await freePort();
  await startProgram(t, PAGES, { env: { PORT: port } });
  const { text } = await fetchText(port, '/read?q=a%20b&r', { method: 'PUT', headers: { 'X-Field': 'some value' }, body: 'the body' });
  const expected = ['PUT', '/read?q=a%20b&r', '/read', 'q=a%20b&r', 'a b', 'some value', 'some value', true, '1.1', 'the body', true];
  assert.deepEqual(JSON.parse(text), expected);
});

test("the writer is Node's: head, fields, pieces, an end that comes later", async (t) => {
  const port = await freePort();
  await startProgram(t, PAGES, { env: { PORT: port } });
  const written = await fetchText(port, '/writer');
  assert.deepEqual([written.status, written.text, written.headers['x-three']], [203, 'written', '3']);
  assert.equal((await fetchText(port, '/pieces')).text, 'abc');
  assert.equal((await fetchText(port, '/flood')).bytes.length, 300 * 16384);
});

test('a body in pieces waits for a client that reads slowly, and arrives whole', async (t) => {
  const port = await freePort();
  await startProgram(t, PAGES, { env: { PORT: port } });
  const response = await soon('a head', new Promise((resolve) => http.get({ port, host: '127.0.0.1', path: '/many', agent: false }, resolve)));
  let length = 0;
  let pauses = 0;
  response.on('data', (chunk) => {
    assert.ok(chunk.every((byte, at) => byte === Math.floor((length + at) / 16384) % 256));
    length += chunk.length;
    if (pauses++ < 10) {
      response.pause();
      setTimeout(() => response.resume(), 5);
    }
  });
  await soon('the end of the body', new Promise((resolve) => response.once('end', resolve)));
  assert.equal(length, 500 * 16384);
});

test('a page that throws, rejects, or makes no sense is answered 500 with the stack in the log; all others go on', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, PAGES, { env: { PORT: port } });
  for (const page of ['/throw', '/reject', '/wrong']) assert.equal((await fetchText(port, page)).status, 500);
  await program.logged('TypeError: a page throws');
  await program.logged('TypeError: a page rejects');
  await program.logged('for JSON there is Response.json(value)');
  assert.equal((await fetchText(port, '/text')).status, 200);
});

test('a header field with a line break, a NUL or a foreign letter is an error, and nothing of it is sent', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, PAGES, { env: { PORT: port } });
  let failed = 0;
  for (const page of ['/inject', '/inject-writer', '/inject-name']) {
    for (const body of ['a\r\nX-Evil: 1', 'a\nX-Evil: 1', 'a\rb', 'a\0b', 'aé']) {
      const answer = await fetchText(port, page, { method: 'POST', body });
      assert.equal(answer.status, 500, `${page} ${JSON.stringify(body)}`);
      assert.equal(answer.headers['x-evil'], undefined);
      failed += 1;
    }
  }
  await program.logged('must not have the character', 10);
  await program.logged('cannot be the name of a header field', failed - 10);
  assert.equal((await fetchText(port, '/inject', { method: 'POST', body: 'tab\tand = are fit' })).status, 200);
});

test('requests of one pipeline are answered in their order, whichever handler is done first', async (t) => {
  const port = await freePort();
  await startProgram(t, PAGES, { env: { PORT: port } });
  const socket = net.connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  let got = '';
  socket.on('data', (data) => (got += data));
  socket.write('GET /writer HTTP/1.1\r\nHost: a\r\n\r\nGET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /chunks HTTP/1.1\r\nHost: a\r\n\r\n');
  await eventually('three answers', () => got.includes('three'));
  assert.ok(got.indexOf('written') < got.indexOf('Gott'));
  assert.ok(got.indexOf('Gott') < got.indexOf('three'));
});

'use strict';
// The case server: what embed/cases/README.md says, in the words of Node.

const { execFile } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');
const { Response, Worker, hive, protocol, run } = require('workhive');

const env = (name) => process.env[`WORKHIVE_CASE_${name}`];
const log = (text) => hive.log('info', text);
const firstLine = (text) => text.split('\n')[0];
const MAX_MESSAGE = 17 * 1024 * 1024;

let kept;
let ticks = 0;

function deeper() {
  throw new Error('told to fail');
}

function deep() {
  deeper();
}

const remote = (conn) => `${conn.remoteAddress}:${conn.remotePort}`;
const local = (conn) => `${conn.localAddress}:${conn.localPort}`;
const who = () => `${hive.place.slot} ${hive.place.pid}`;

const orders = {
  who: (conn) => conn.send(who()),
  about: (conn) => conn.send(`${conn.protocol} ${remote(conn)} ${local(conn)}`),
  fail: () => deep(),
  after: (conn, rest) => {
    const [, ms, text] = /^(\d+) ?([^]*)$/.exec(rest);
    hive.after(Number(ms), () => conn.send(text));
  },
  every: (conn, rest) => {
    const [ms, n] = rest.split(' ').map(Number);
    let fired = 0;
    hive.every(ms, (timer) => {
      fired += 1;
      conn.send(String(fired));
      if (fired === n) timer.cancel();
    });
  },
  cancel: (conn, rest) => {
    const late = hive.after(Number(rest), () => conn.send('late'));
    hive.after(2 * Number(rest), () => conn.send('done'));
    late.cancel();
  },
  'timer-fail': (conn) => {
    hive.after(1, () => {
      throw new Error('timer told to fail');
    });
    hive.after(20, () => conn.send('still here'));
  },
  close: (conn, rest) => {
    const [, code, reason] = /^(\d*) ?([^]*)$/.exec(rest);
    if (code === '') conn.close();
    else conn.close(Number(code), reason);
  },
  destroy: (conn) => conn.destroy(),
  pause: (conn, rest) => {
    conn.pause();
    conn.send('paused');
    hive.after(Number(rest), () => {
      conn.resume();
      conn.send('resumed');
    });
  },
  flood: (conn, rest) => {
    const message = 'x'.repeat(Number(rest));
    let taken = 0;
    while (conn.send(message)) taken += 1;
    log(`flooded ${taken}`);
  },
  set: (conn, rest) => {
    conn.data = rest;
    conn.send('set');
  },
  get: (conn) => conn.send(conn.data ?? 'none'),
  keep: (conn) => {
    kept = conn;
    conn.send('kept');
  },
  kept: (conn, rest) => conn.send(kept?.send(rest) ? 'sent' : 'gone'),
  stats: (conn) => {
    const { connections, accepted, messagesIn } = hive.stats();
    conn.send(`${connections} ${accepted} ${messagesIn}`);
  },
  child: (conn) => {
    execFile('sh', ['-c', 'echo from the child; exit 7'], (error, stdout) => conn.send(`${stdout.trim()} ${error.code}`));
  },
  stop: (conn) => {
    conn.send('stopping');
    hive.stop();
  },
  later: async (conn, rest) => {
    await sleep(10);
    conn.send(rest);
  },
  'later-fail': async () => {
    await sleep(10);
    deep();
  },
  task: (conn) => conn.send(String(ticks)),
};

/** `!order rest` of text, or undefined. */
function orderIn(message) {
  const text = typeof message === 'string' ? message : message.toString();
  const [, order, rest] = /^!(\S*) ?([^]*)$/.exec(text) ?? [];
  return order === undefined ? undefined : { order, rest };
}

function onOrder(conn, message, isText) {
  const found = conn.protocol !== 'websocket' || isText ? orderIn(message) : undefined;
  if (found === undefined) {
    conn.send(message);
    return undefined;
  }
  const done = Object.hasOwn(orders, found.order) ? orders[found.order](conn, found.rest) : conn.send('what?');
  return found.order.startsWith('later') ? done : undefined;
}

function onStart() {
  if (env('FAIL_START') !== undefined) throw new Error(env('FAIL_START'));
  process.on('SIGWINCH', () => log('saw SIGWINCH'));
  setInterval(() => (ticks += 1), 10);
  log('on_worker_start');
}

function common(worker, { inner = false } = {}) {
  if (!inner) {
    worker.on('workerStart', onStart);
    worker.on('workerStop', () => log('on_worker_stop'));
  }
  worker.on('close', (conn, { code, peerReason }) => log(`on_close ${code ?? 0} ${peerReason}`));
  worker.on('error', (conn, error) => log(`on_error ${firstLine(error.message)}`));
  worker.on('bufferFull', () => log('on_buffer_full'));
  worker.on('bufferDrain', () => log('on_buffer_drain'));
  return worker;
}

const workers = [];

function group(name, variable, scheme) {
  if (env(variable) === undefined) return undefined;
  const worker = common(new Worker(`${scheme}://${env(variable)}`, { name, maxMessage: scheme === 'tcp' ? undefined : MAX_MESSAGE }));
  workers.push(worker);
  return worker;
}

protocol('netstring', {
  input(bytes) {
    const colon = bytes.indexOf(':');
    const digits = bytes.toString('latin1', 0, colon < 0 ? Math.min(bytes.length, 9) : colon);
    if (!/^\d{0,8}$/.test(digits) || (colon === 0)) return -1;
    return colon < 0 ? 0 : colon + 1 + Number(digits) + 1;
  },
  decode(bytes) {
    if (bytes.at(-1) !== 0x2c) throw new Error('a netstring ends with a comma');
    return Buffer.from(bytes.subarray(bytes.indexOf(':') + 1, -1));
  },
  encode(message) {
    const bytes = Buffer.from(message);
    return Buffer.concat([Buffer.from(`${bytes.length}:`), bytes, Buffer.from(',')]);
  },
});

for (const name of ['text', 'frame', 'tcp', 'netstring']) group(name, name.toUpperCase(), name)?.on('message', onOrder);

const websocket = group('websocket', 'WEBSOCKET', 'websocket');
websocket?.on('message', onOrder);
websocket?.on('websocketConnect', (conn, request, handshake) => {
  if (request.path === '/refuse') {
    handshake.refuse(403, 'not here');
    return;
  }
  const offered = (request.headers['Sec-WebSocket-Protocol'] ?? '').split(',').map((name) => name.trim());
  if (offered.includes('case')) handshake.subprotocol('case');
  handshake.header('X-Case', request.query ?? '');
});

const pages = {
  'GET /': () => 'Hello, World!',
  'POST /': (request) => request.body,
  'GET /who': () => who(),
  'POST /field': (request) => Response.text('ok').header('X-Case', request.text()),
  'GET /stream': () =>
    new Response(
      (async function* chunks() {
        yield 'one ';
        await sleep(1);
        yield 'two ';
        await sleep(1);
        yield 'three';
      })(),
      { headers: { 'Content-Type': 'text/plain' } },
    ),
  'GET /after': (request, response) => void hive.after(10, () => response.end('after')),
  'GET /later': async () => {
    await sleep(10);
    return 'later';
  },
  'GET /later-fail': async () => {
    await sleep(10);
    deep();
  },
  'GET /fail': () => deep(),
};

group('http', 'HTTP', 'http')?.on('request', (request, response) => {
  const { method, path } = request;
  if (path === '/read') {
    return [method, path, request.query ?? '', request.header('x-case') ?? '', request.httpVersion, request.body.length, ''].join('\n');
  }
  const page = pages[`${method} ${path}`];
  if (page !== undefined) return page(request, response);
  const [, status] = /^\/status\/(\d+)$/.exec(path) ?? [];
  if (status !== undefined && method === 'GET') {
    return Response.text(`status ${status}`, { status: Number(status), headers: { 'X-Case': 'yes' } });
  }
  return Response.text('nothing here', { status: 404 });
});

const pushOrders = {
  who: orders.who,
  join: async (conn, room) => {
    if (await conn.joinRoom(room)) conn.send(`joined ${room}`);
  },
  leave: (conn, room) => {
    conn.leaveRoom(room);
    conn.send(`left ${room}`);
  },
  rooms: (conn) => conn.send(conn.rooms.sort().join(',')),
  size: async (conn, room) => conn.send(String((await hive.roomSize(room)).count)),
  uid: (conn) => conn.send(conn.uid),
  id: (conn) => conn.send(conn.id),
  online: async (conn, uid) => {
    const online = await hive.isUidOnline(uid);
    conn.send(online === null ? 'unknown' : online ? 'online' : 'offline');
  },
  to: async (conn, rest) => {
    const [uid, text] = cut(rest);
    conn.send(`delivered ${(await hive.sendToUid(uid, text)).delivered}`);
  },
  say: async (conn, rest) => {
    const [room, text] = cut(rest);
    conn.send(`said ${(await hive.sendToRoom(room, text, { except: [conn] })).delivered}`);
  },
  all: (conn, text) => void hive.sendToAll(text),
  send: async (conn, rest) => {
    const [id, text] = cut(rest);
    conn.send(`delivered ${(await hive.sendToConnection(id, text)).delivered}`);
  },
  kick: (conn, uid) => hive.closeUid(uid, 4001, 'kicked'),
  count: async (conn) => conn.send(String((await hive.onlineCount()).count)),
  publish: (conn, rest) => hive.publish(...cut(rest)),
};

/** The first word, and the rest. */
function cut(text) {
  const blank = text.indexOf(' ');
  return blank < 0 ? [text, ''] : [text.slice(0, blank), text.slice(blank + 1)];
}

const push = group('push', 'PUSH', 'websocket');
push?.on('workerStart', () => {
  hive.subscribe('case', (text) => log(`topic ${text}`));
  const lines = common(new Worker(`text://${env('PUSH_TEXT')}`, { reusePort: true, maxMessage: MAX_MESSAGE }), { inner: true });
  lines.on('message', async (conn, line) => {
    if (line === '!who') {
      conn.send(who());
      return;
    }
    const outcome = await hive.sendToUid(...cut(line));
    conn.send(outcome.isDelivered ? 'ok' : 'fail');
  });
  lines.listen();
});
push?.on('uidOnline', (uid) => log(`online ${uid}`));
push?.on('uidOffline', (uid) => log(`offline ${uid}`));
push?.on('message', async (conn, message) => {
  if (conn.uid === undefined) {
    if (await conn.bindUid(message)) conn.send(`bound ${message}`);
    return;
  }
  const found = orderIn(message);
  if (found !== undefined && Object.hasOwn(pushOrders, found.order)) await pushOrders[found.order](conn, found.rest);
  else conn.send('what?');
});

if (env('INNER') !== undefined) {
  const inner = common(new Worker('', { name: 'inner' }));
  inner.on('workerStart', () => {
    const how = env('INNER_HOW');
    const listener = common(
      new Worker(`text://${env('INNER')}`, { reusePort: how === 'reuse_port', shared: how === 'shared', maxMessage: MAX_MESSAGE }),
      { inner: true },
    );
    listener.on('message', onOrder);
    try {
      listener.listen();
    } catch (error) {
      log(`does without: ${error.message.replaceAll('\n', ' ')}`);
    }
  });
  workers.push(inner);
}

if (env('SIGNALS') === 'host') {
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => log(`host saw ${signal}`));
}

run(workers, env('LOG') === 'own' ? { log: (level, text) => process.stderr.write(`own: ${level} ${text}\n`) } : {});

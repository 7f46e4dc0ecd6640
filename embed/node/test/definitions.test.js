'use strict';
// What is refused before anything runs: the messages say what was wrong, and what there is.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const test = require('node:test');
const { Worker: Thread } = require('node:worker_threads');
const { Response, Worker, attach, hive, protocol, run } = require('..');

test('options that do not exist, or make no sense, are refused with the names of those that do', () => {
  assert.throws(() => new Worker('http://127.0.0.1:1', { counts: 4 }), /no option 'counts': there are .*count/);
  assert.throws(() => new Worker('http://127.0.0.1:1', { count: '4' }), /'count' must be a whole number/);
  assert.throws(() => new Worker('http://127.0.0.1:1', { count: 1.5 }), /'count' must be a whole number/);
  assert.throws(() => new Worker('http://127.0.0.1:1', { name: 4 }), /'name' must be a string/);
  assert.throws(() => new Worker(1234), /an address is a string/);
});

test('events that do not exist are refused, and so are handlers that are none', () => {
  const worker = new Worker('text://127.0.0.1:1');
  assert.throws(() => worker.on('mesage', () => {}), /no event 'mesage': there are .*message/);
  assert.throws(() => worker.on('message', 'echo'), /must be a function, not string/);
  worker.on('request', () => {});
  assert.throws(() => worker.on('request', () => {}), /one answer/);
});

test('responses refuse statuses and header fields that cannot be sent', () => {
  assert.throws(() => new Response('', { status: 99 }), RangeError);
  assert.throws(() => new Response('', { status: 200.5 }), RangeError);
  for (const value of ['a\r\nb', 'a\nb', 'a\rb', 'a\0b', 'é']) {
    assert.throws(() => Response.text('').header('X-Field', value), { code: 'ERR_INVALID_CHAR' });
    assert.throws(() => new Response('', { headers: { 'X-Field': value } }), { code: 'ERR_INVALID_CHAR' });
    assert.throws(() => new Response('', { headers: [['X-Field', value]] }), { code: 'ERR_INVALID_CHAR' });
  }
  for (const name of ['', 'a b', 'a:', 'a\n', 'é']) assert.throws(() => Response.text('').header(name, 'x'), { code: 'ERR_INVALID_CHAR' });
});

test('protocols need a function that finds packages, and a name that is free', () => {
  assert.throws(() => protocol('lines', {}), /needs input/);
  assert.throws(() => protocol('lines', { input: 1 }), /must be a function/);
  assert.throws(() => protocol('lines', { input() {}, parse() {} }), /no parse/);
  assert.throws(() => protocol('http', { input: () => 0 }), (error) => /^WH_ERR_/.test(error.code));
});

test('run() takes workers, and options that it has', () => {
  assert.throws(() => run(), /needs a worker/);
  assert.throws(() => run({}), /needs a worker/);
  assert.throws(() => run(1, new Worker('')), /takes workers/);
  assert.throws(() => run(new Worker(''), { names: 'x' }), /no option 'names'/);
  assert.throws(() => attach(), /attach\(\) takes the worker/);
  assert.throws(() => hive.sendToUid('u', 'x'), /hive\.sendToUid\(\) cannot be called before run\(\): call it in a handler/);
  assert.throws(() => hive.stats(), /before run/);
  assert.throws(() => hive.stopAll(), /before run/);
  assert.equal(hive.role, undefined);
  assert.equal(hive.place, undefined);
});

test('an address that makes no sense fails the run, with its text', () => {
  const text = "const { Worker, run } = require('.'); run(new Worker('gopher://127.0.0.1:70'))";
  const { status, stderr } = spawnSync(process.execPath, ['-e', text], { cwd: `${__dirname}/..`, encoding: 'utf8' });
  assert.notEqual(status, 0);
  assert.match(stderr, /gopher/);
});

test('a thread of worker_threads is told that it cannot run a hive', async () => {
  const thread = new Thread(`require(${JSON.stringify(require.resolve('..'))})`, { eval: true });
  const error = await new Promise((resolve) => thread.once('error', resolve));
  assert.match(error.message, /main thread/);
});

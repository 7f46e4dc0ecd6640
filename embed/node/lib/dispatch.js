'use strict';
// What the addon calls. What is thrown here it catches: the callback has failed, and the library ends that one connection.

const { markAsUntransferable } = require('node:worker_threads');
const native = require('./native.js');
const { connectionAt, follow, forget, nameOf, wakeDrained } = require('./connection.js');
const { describe, failureText, isPromise, LEVELS } = require('./failure.js');
const { headerLine } = require('./headers.js');
const { onEncode, onInput } = require('./protocol.js');
const { Request } = require('./request.js');
const { ResponseWriter } = require('./response.js');
const { workers } = require('./worker.js');

const REASONS = ['unknown', 'peer', 'local', 'destroyed', 'protocol', 'error', 'drained'];
const KINDS = ['unknown', 'protocol', 'io', 'idle', 'callback', 'panic', 'slow'];
const LEVEL_NAMES = ['', ...Object.keys(LEVELS)];
const REFUSE = 0;
const SUBPROTOCOL = 1;
const FIELD = 2;
const POOL_SIZE = 64 * 1024;

/** By their indices. */
const topics = [];
const settings = { log: undefined, mine: undefined, over: () => {} };

/** A handler that concerns the process goes on: nobody is there to be told but the log. */
function watch(promise) {
  Promise.resolve(promise).then(undefined, (error) => native.hiveLog(LEVELS.error, describe(error)));
}

/** True for a start that goes on: hiveReady says when it is over. */
function onProcess(event, index) {
  const name = native.EVENTS[event];
  if (name === 'workerStart') settings.mine = workers[index];
  const result = workers[index]._emit(name, workers[index]);
  if (!isPromise(result)) return false;
  if (name !== 'workerStart') watch(result);
  else result.then(() => native.hiveReady(), (error) => native.hiveReady(failureText(error)));
  return true;
}

function onUid(event, index, uid) {
  const result = workers[index]._emit(native.EVENTS[event], nameOf(uid), workers[index]);
  if (isPromise(result)) watch(result);
}

function onConn(event, index, seat) {
  const conn = connectionAt(seat, workers[index]);
  const name = native.EVENTS[event];
  if (name === 'bufferDrain') wakeDrained(conn);
  else if (name === 'bufferFull') conn._full = true;
  const result = conn.worker._emit(name, conn);
  if (isPromise(result)) follow(conn, result);
}

/** Where the addon puts short messages; a new one when it is full. */
let pool;

function newPool() {
  pool = Buffer.allocUnsafeSlow(POOL_SIZE);
  markAsUntransferable(pool.buffer);
  return pool;
}

/** A string, a Buffer, or a place and a length in the pool. */
function onMessage(index, seat, came, length) {
  const conn = connectionAt(seat, workers[index]);
  const data = length === undefined ? came : pool.subarray(came, came + length);
  const { _message: handler, _protocol: protocol } = conn.worker;
  if (handler === undefined) return;
  const isText = typeof data === 'string';
  const message = protocol?.decode === undefined ? data : protocol.decode(data);
  const result = handler(conn, message, isText);
  if (isPromise(result)) follow(conn, result);
}

function onRequest(index, seat, method, url, path, query, lines, version, keepAlive, body) {
  const conn = connectionAt(seat, workers[index]);
  const handler = conn.worker._request;
  const writer = new ResponseWriter(conn);
  if (handler === undefined) return;
  const request = new Request(conn, method, url, path, query, lines, version, keepAlive, body);
  const result = handler(request, writer);
  const finish = (value) => {
    if (value !== undefined) return writer._answer(value);
    if (handler.length < 2 && !writer.headersSent) throw new TypeError("the handler of 'request' has returned nothing, and takes no writer as its second argument");
    return undefined;
  };
  if (isPromise(result)) {
    follow(conn, result, finish);
  } else {
    const rest = finish(result);
    if (rest !== undefined) follow(conn, rest);
  }
}

/** What a handler of 'websocketConnect' may say. */
class Handshake {
  constructor() {
    this._said = [];
  }

  refuse(status = 403, body = '') {
    this._said.push([REFUSE, status, body]);
    return this;
  }

  subprotocol(name) {
    this._said.push([SUBPROTOCOL, '', name]);
    return this;
  }

  header(name, value) {
    if (headerLine(name, value) !== '') this._said.push([FIELD, name, String(value)]);
    return this;
  }
}

function onOpening(index, seat, method, url, path, query, lines, version) {
  const conn = connectionAt(seat, workers[index]);
  const handshake = new Handshake();
  const request = new Request(conn, method, url, path, query, lines, version, false, undefined);
  const result = conn.worker._emit('websocketConnect', conn, request, handshake);
  if (isPromise(result)) {
    watch(result);
    throw new TypeError("the handler of 'websocketConnect' must say at once whether it accepts: it cannot be async");
  }
  return handshake._said;
}

function onClose(index, seat, reason, code, peerReason, text) {
  const conn = connectionAt(seat, workers[index]);
  const info = { reason: REASONS[reason] ?? REASONS[0], code: code === 0 ? undefined : code, peerReason, text };
  const result = conn.worker._emit('close', conn, info);
  if (isPromise(result)) watch(result);
}

function onError(index, seat, kind, text) {
  const conn = connectionAt(seat, workers[index]);
  const error = new Error(text);
  // Ours would only say that the library has called.
  error.stack = text;
  error.kind = KINDS[kind] ?? KINDS[0];
  const result = conn.worker._emit('error', conn, error);
  if (isPromise(result)) watch(result);
}

function onTopic(index, data) {
  try {
    const result = topics[index](data);
    if (isPromise(result)) watch(result);
  } catch (error) {
    native.hiveLog(LEVELS.error, describe(error));
  }
}

/** In the program's own function nothing may go wrong that only the log would tell. */
function onLog(level, text) {
  try {
    settings.log(LEVEL_NAMES[level], text);
  } catch (error) {
    process.stderr.write(`${text}\n${describe(error)}\n`);
  }
}

native.bind({
  process: onProcess,
  uid: onUid,
  conn: onConn,
  message: onMessage,
  request: onRequest,
  opening: onOpening,
  close: onClose,
  error: onError,
  forget,
  pool: newPool,
  input: onInput,
  encode: onEncode,
  topic: onTopic,
  log: onLog,
  over: (text) => settings.over(text),
  describe: failureText,
});

module.exports = { settings, topics, watch };

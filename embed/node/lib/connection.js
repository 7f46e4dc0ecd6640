'use strict';
// Connections: one object for each, made when it is first spoken of, forgotten when it has ended.

const { isUtf8 } = require('node:buffer');
const { inspect } = require('node:util');
const native = require('./native.js');
const { describe, failureText, LEVELS } = require('./failure.js');

const TEXT = 0;
const BINARY = 1;

/** By their seats, the numbers by which the addon knows them. */
const connections = [];

/** A uid, room or topic as the program sees it: a string, unless its bytes are none. */
function nameOf(bytes) {
  return isUtf8(bytes) ? bytes.toString() : bytes;
}

/** "127.0.0.1:5000", "[::1]:5000", "unix:" */
function host(address) {
  if (address === undefined || address.startsWith('unix:')) return undefined;
  const host = address.slice(0, address.lastIndexOf(':'));
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

function port(address) {
  if (address === undefined || address.startsWith('unix:')) return undefined;
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

class Connection {
  constructor(seat, worker) {
    /** -1 when it has ended. */
    this._seat = seat;
    this._id = undefined;
    /** A send was refused; the buffer has not been empty since. */
    this._full = false;
    /** Who waits until it is. */
    this._drained = undefined;
    this.worker = worker;
    this.data = undefined;
  }

  send(data) {
    const protocol = this.worker._protocol;
    if (protocol !== undefined && protocol.encode !== undefined) return this._took(protocol.send(this, data));
    return this._took(native.connSend(this._seat, data, typeof data === 'string' ? TEXT : BINARY));
  }

  _took(taken) {
    if (!taken) this._full = true;
    return taken;
  }

  close(code, reason = '') {
    if (code === undefined) native.connClose(this._seat);
    else native.connCloseWith(this._seat, checkedCode(code), reason);
  }

  end(data) {
    const taken = data === undefined || this.send(data);
    native.connEnd(this._seat);
    return taken;
  }

  destroy() {
    native.connDestroy(this._seat);
  }

  fail(error) {
    native.connFail(this._seat, failureText(error));
  }

  pause() {
    native.connPause(this._seat);
    return this;
  }

  resume() {
    native.connResume(this._seat);
    return this;
  }

  pipe(to) {
    if (!(to instanceof Connection)) throw new TypeError(`pipe() takes a connection, not ${inspect(to)}`);
    native.connPipe(this._seat, to._seat);
    return to;
  }

  /** Fulfilled when the send buffer takes messages again, or the connection has ended. */
  drained() {
    if (!this._full || !this.isOpen) return Promise.resolve();
    return new Promise((resolve) => (this._drained ??= []).push(resolve));
  }

  get isOpen() {
    return native.connIsOpen(this._seat);
  }

  get queued() {
    return native.connQueued(this._seat);
  }

  get id() {
    return (this._id ??= native.connId(this._seat));
  }

  get protocol() {
    return native.connProtocol(this._seat);
  }

  get remoteAddress() {
    return host(native.connRemote(this._seat));
  }

  get remotePort() {
    return port(native.connRemote(this._seat));
  }

  get localAddress() {
    return host(native.connLocal(this._seat));
  }

  get localPort() {
    return port(native.connLocal(this._seat));
  }

  stats() {
    return native.connStats(this._seat);
  }

  get uid() {
    const uid = native.connUid(this._seat);
    return uid === undefined ? undefined : nameOf(uid);
  }

  get uids() {
    return native.connUids(this._seat).map(nameOf);
  }

  bindUid(uid) {
    return native.connBindUid(this._seat, uid);
  }

  claimUid(uid) {
    return native.connClaimUid(this._seat, uid);
  }

  unbindUid(uid) {
    return native.connUnbindUid(this._seat, uid);
  }

  joinRoom(room) {
    return native.connJoinRoom(this._seat, room);
  }

  leaveRoom(room) {
    return native.connLeaveRoom(this._seat, room);
  }

  get rooms() {
    return native.connRooms(this._seat).map(nameOf);
  }

  get session() {
    return native.connSession(this._seat);
  }

  setSession(data) {
    return native.connSetSession(this._seat, data);
  }
}

function checkedCode(code) {
  if (Number.isInteger(code) && code >= 0 && code <= 0xffff) return code;
  throw new RangeError(`a close code is a whole number up to 65535, not ${code}`);
}

/** The connection in a seat; the first to ask has it made. */
function connectionAt(seat, worker) {
  const known = connections[seat];
  if (known !== undefined) return known;
  const made = new Connection(seat, worker);
  if (seat >= 0) connections[seat] = made;
  return made;
}

function wakeDrained(conn) {
  conn._full = false;
  const waiting = conn._drained;
  if (waiting === undefined) return;
  conn._drained = undefined;
  for (const resolve of waiting) resolve();
}

/** The seat is given to another one: whoever kept the connection has one that has ended. */
function forget(seat) {
  const conn = connections[seat];
  if (conn === undefined) return;
  connections[seat] = undefined;
  conn._seat = -1;
  wakeDrained(conn);
}

/** A handler goes on: the connection waits for it when its process is replaced, and ends if it fails. */
function follow(conn, promise, then) {
  native.connHold(conn._seat);
  Promise.resolve(promise).then(then).then(
    () => native.connRelease(conn._seat),
    (error) => {
      // Of one that has ended meanwhile nobody else would tell.
      if (!native.connFail(conn._seat, failureText(error))) native.hiveLog(LEVELS.warn, describe(error));
      native.connRelease(conn._seat);
    },
  );
}

module.exports = { BINARY, Connection, TEXT, checkedCode, connectionAt, follow, forget, nameOf, wakeDrained };

'use strict';
// Definitions: groups of processes, and listeners inside a running one.

const { inspect } = require('node:util');
const native = require('./native.js');
const { isPromise, oneOf } = require('./failure.js');
const { protocolOf } = require('./protocol.js');

/** The library has callbacks for these; workerStop is ours, since it may be waited for. */
const EVENTS = new Map(native.EVENTS.map((name, number) => [name, number]));
const OF_PROCESS = ['workerStart', 'workerStop', 'workerReload', 'uidOnline', 'uidOffline'];
/** Protocols whose messages are strings. */
const WITH_TEXT = /^(websocket|ws|text):/;
const NAMES = ['workerStop', ...EVENTS.keys()];

/** By their indices, which callbacks bring. */
const workers = [];

class Worker {
  constructor(address = '', options = {}) {
    if (typeof address !== 'string') throw new TypeError(`an address is a string such as 'websocket://0.0.0.0:1234', not ${typeof address}`);
    for (const [name, value] of Object.entries(options)) checkOption(name, value);
    this.address = address;
    this.options = { ...options };
    this._handlers = new Map();
    this._protocol = undefined;
    this._message = undefined;
    this._request = undefined;
    this._index = -1;
    /** Once the library has the definition, these are the events that it calls. */
    this._wired = undefined;
  }

  get name() {
    return this.options.name;
  }

  on(event, handler) {
    if (!NAMES.includes(event)) throw new TypeError(`a worker has no event '${event}': there are ${oneOf(NAMES)}`);
    if (typeof handler !== 'function') throw new TypeError(`the handler of '${event}' must be a function, not ${typeof handler}`);
    if (this._wired !== undefined && !this._wired.has(event)) {
      throw new Error(`nobody listened to '${event}' when the worker started: add the handler before run() or listen()`);
    }
    const list = this._handlers.get(event) ?? [];
    if (event === 'request' && list.length > 0) throw new Error("'request' has a handler already, and a request one answer");
    this._handlers.set(event, [...list, handler]);
    this._combine(event);
    return this;
  }

  off(event, handler) {
    const list = this._handlers.get(event) ?? [];
    this._handlers.set(event, list.filter((other) => other !== handler));
    this._combine(event);
    return this;
  }

  listen() {
    const used = OF_PROCESS.find((event) => this._has(event));
    if (used !== undefined) throw new Error(`'${used}' concerns a process: listeners inside a running one do not have it`);
    const handle = this._define();
    try {
      native.workerListen(handle);
    } catch (error) {
      native.workerFree(handle);
      this._wired = undefined;
      throw error;
    }
    return this;
  }

  unlisten() {
    native.unlisten(this.address);
  }

  pauseAccept() {
    native.pauseAccept(this.address);
  }

  resumeAccept() {
    native.resumeAccept(this.address);
  }

  _has(event) {
    return (this._handlers.get(event) ?? []).length > 0;
  }

  _combine(event) {
    if (event === 'message') this._message = this._handler(event);
    if (event === 'request') this._request = this._handler(event);
  }

  /** One function for all handlers of an event, which waits for all of them; undefined if there is none. */
  _handler(event) {
    const list = this._handlers.get(event) ?? [];
    if (list.length < 2) return list[0];
    return (...args) => {
      const results = list.map((handler) => handler(...args));
      return results.some(isPromise) ? Promise.all(results) : undefined;
    };
  }

  _emit(event, ...args) {
    return this._handler(event)?.(...args);
  }

  _set(handle, name, value) {
    try {
      native.workerSet(handle, name, value);
    } catch (error) {
      // The library calls it by its name in C.
      const why = error.message.replaceAll(/\bWH_[A-Z_]+\b/g, `'${name}'`);
      error.message = `the worker at '${this.address}' cannot have ${name}: ${inspect(value)}: ${why}`;
      throw error;
    }
  }

  /** The library's handle of a definition as it stands now. */
  _define(isGroup = false) {
    if (this._wired !== undefined) throw new Error(`the worker at '${this.address}' runs already`);
    this._protocol = protocolOf(this.address);
    if (this._index < 0) this._index = workers.push(this) - 1;
    const handle = native.workerNew(this.address);
    try {
      for (const [name, value] of Object.entries(this.options)) {
        if (value !== undefined) this._set(handle, name, typeof value === 'boolean' ? Number(value) : value);
      }
      const hasText = WITH_TEXT.test(this.address);
      const wired = new Set(NAMES.filter((event) => this._has(event)));
      // Who waits for the buffer to drain need not listen himself.
      if (this.address !== '') wired.add('bufferFull').add('bufferDrain');
      // A process learns by it which definition is its own.
      if (isGroup) wired.add('workerStart');
      for (const event of wired) if (EVENTS.has(event)) native.workerOn(handle, EVENTS.get(event), this._index, hasText);
      this._wired = wired.add('workerStop');
    } catch (error) {
      native.workerFree(handle);
      throw error;
    }
    return handle;
  }
}

function checkOption(name, value) {
  const type = native.OPTIONS[name];
  if (type === undefined) {
    throw new TypeError(`a worker has no option '${name}': there are ${oneOf(Object.keys(native.OPTIONS))}`);
  }
  if (value === undefined) return;
  const fits = type === 'string' ? typeof value === 'string' : typeof value === 'boolean' || Number.isSafeInteger(value);
  if (!fits) {
    throw new TypeError(`the option '${name}' must be a ${type === 'string' ? 'string' : 'whole number, or true or false'}, not ${JSON.stringify(value) ?? typeof value}`);
  }
}

module.exports = { Worker, workers };

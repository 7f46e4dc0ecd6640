'use strict';
// HTTP responses: a value that a handler returns, or the writer that it is given.

const native = require('./native.js');
const { follow } = require('./connection.js');
const { headerLine, headerLines } = require('./headers.js');

const PLAIN = 'Content-Type: text/plain; charset=utf-8\n';
const HTML = 'Content-Type: text/html; charset=utf-8\n';
const JSON_TYPE = 'Content-Type: application/json\n';
const BYTES = 'Content-Type: application/octet-stream\n';

function checkedStatus(status) {
  if (Number.isInteger(status) && status >= 200 && status <= 599) return status;
  throw new RangeError(`the status of a response is a whole number from 200 to 599, not ${status}`);
}

class Response {
  constructor(body = '', { status = 200, headers } = {}, type = '') {
    this.status = checkedStatus(status);
    this.body = body ?? '';
    this._lines = headers === undefined ? type : withType(headerLines(headers), type);
  }

  static text(text, init) {
    return new Response(String(text), init, PLAIN);
  }

  static html(text, init) {
    return new Response(String(text), init, HTML);
  }

  static json(value, init) {
    return new Response(JSON.stringify(value), init, JSON_TYPE);
  }

  static redirect(location, status = 302) {
    return new Response('', { status, headers: { Location: location } });
  }

  /** One more field; the same name may come several times. */
  header(name, value) {
    this._lines += headerLine(name, value);
    return this;
  }
}

function withType(lines, type) {
  return /^content-type:/im.test(lines) ? lines : type + lines;
}

function isChunks(body) {
  if (typeof body === 'string' || body instanceof Uint8Array) return false;
  return typeof body[Symbol.asyncIterator] === 'function' || typeof body[Symbol.iterator] === 'function';
}

/** Node's own words for a response: writeHead, setHeader, write, end. */
class ResponseWriter {
  constructor(connection) {
    this.connection = connection;
    this.statusCode = 200;
    this.headersSent = false;
    this.writableEnded = false;
    this._fields = undefined;
    /** Chunks that the send buffer did not take yet. */
    this._waiting = undefined;
  }

  setHeader(name, value) {
    this._checkHead();
    const lines = headerLines([[name, value]]);
    (this._fields ??= new Map()).set(name.toLowerCase(), { value, lines });
    return this;
  }

  getHeader(name) {
    return this._fields?.get(name.toLowerCase())?.value;
  }

  removeHeader(name) {
    this._checkHead();
    this._fields?.delete(name.toLowerCase());
  }

  writeHead(status, headers) {
    this._checkHead();
    this.statusCode = checkedStatus(status);
    for (const [name, value] of Object.entries(headers ?? {})) this.setHeader(name, value);
    return this;
  }

  /** False if the chunk has to wait until the client has taken more: await drained() before the next one. */
  write(chunk) {
    this._checkEnd();
    if (!this.headersSent) this._startStream();
    if (chunk.length === 0) return true;
    return this._put(chunk, 0);
  }

  end(body = '') {
    this._checkEnd();
    this.writableEnded = true;
    if (this.headersSent) {
      this._put(body, 1);
      return;
    }
    this.headersSent = true;
    native.connRespond(this.connection._seat, checkedStatus(this.statusCode), this._head(), body);
  }

  async drained() {
    while (this._waiting !== undefined && this.connection.isOpen) await this.connection.drained();
  }

  _checkHead() {
    if (this.headersSent) throw new Error('the head of this response has been sent already');
  }

  _checkEnd() {
    if (this.writableEnded) throw new Error('this response has been sent already');
  }

  _head() {
    let lines = '';
    if (this._fields !== undefined) for (const field of this._fields.values()) lines += field.lines;
    return lines;
  }

  _startStream() {
    this.headersSent = true;
    native.connRespondStream(this.connection._seat, checkedStatus(this.statusCode), this._head());
  }

  _put(chunk, last) {
    if (this._waiting !== undefined) {
      this._waiting.push([chunk, last]);
      return false;
    }
    if (this._chunk(chunk, last)) return true;
    if (!this.connection.isOpen) return false;
    this._waiting = [[chunk, last]];
    follow(this.connection, this._flush());
    return false;
  }

  _chunk(chunk, last) {
    return this.connection._took(native.connChunk(this.connection._seat, chunk, last));
  }

  async _flush() {
    while (this._waiting.length > 0) {
      await this.connection.drained();
      if (!this.connection.isOpen) break;
      while (this._waiting.length > 0 && this._chunk(...this._waiting[0])) this._waiting.shift();
    }
    this._waiting = undefined;
  }

  /** What a handler has returned. */
  _answer(value) {
    if (value instanceof Response) {
      if (isChunks(value.body)) return this._pump(value);
      this._checkHead();
      this.headersSent = true;
      this.writableEnded = true;
      native.connRespond(this.connection._seat, value.status, value._lines, value.body);
      return undefined;
    }
    if (typeof value === 'string') return this._answer(new Response(value, undefined, PLAIN));
    if (value instanceof Uint8Array) return this._answer(new Response(value, undefined, BYTES));
    if (globalThis.Response !== undefined && value instanceof globalThis.Response) {
      return this._answer(new Response(value.body ?? '', { status: value.status, headers: value.headers }));
    }
    throw new TypeError(
      `a handler of 'request' returns a Response, a string or bytes, not ${value === null ? 'null' : typeof value}; for JSON there is Response.json(value)`,
    );
  }

  /** A body that comes in pieces. */
  async _pump(response) {
    this._checkHead();
    this.headersSent = true;
    native.connRespondStream(this.connection._seat, response.status, response._lines);
    for await (const chunk of response.body) {
      this.write(chunk);
      await this.drained();
      if (!this.connection.isOpen) return;
    }
    this.end();
  }
}

module.exports = { Response, ResponseWriter };

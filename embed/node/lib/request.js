'use strict';
// HTTP requests, and those that open WebSockets. What is asked for is taken apart then, and only once.

const EMPTY = Buffer.alloc(0);

/** `name: value` lines to an object whose fields are found in any case. */
function parseHeaders(lines) {
  const fields = Object.create(null);
  let start = 0;
  while (start < lines.length) {
    let end = lines.indexOf('\n', start);
    if (end < 0) end = lines.length;
    const colon = lines.indexOf(':', start);
    if (colon > start && colon < end) {
      const name = lines.slice(start, colon).toLowerCase();
      const value = lines.slice(colon + 1, end).trim();
      // RFC 9110 section 5.3, and 6265bis section 5.8.1 for cookies.
      const before = fields[name];
      fields[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
    }
    start = end + 1;
  }
  return new Proxy(fields, inAnyCase);
}

const lower = (name) => (typeof name === 'string' ? name.toLowerCase() : name);

const inAnyCase = {
  get: (fields, name) => fields[lower(name)],
  has: (fields, name) => lower(name) in fields,
  getOwnPropertyDescriptor: (fields, name) => Reflect.getOwnPropertyDescriptor(fields, lower(name)),
  set() {
    throw new TypeError('the header fields of a request are read only');
  },
  defineProperty() {
    throw new TypeError('the header fields of a request are read only');
  },
  deleteProperty() {
    throw new TypeError('the header fields of a request are read only');
  },
};

class Request {
  constructor(connection, method, url, path, query, lines, version, keepAlive, body) {
    this.connection = connection;
    this.method = method;
    this.url = url;
    this.path = path;
    this.query = query;
    this.keepAlive = keepAlive;
    this._lines = lines;
    this._headers = undefined;
    this._version = version;
    this._body = body;
  }

  get headers() {
    return (this._headers ??= parseHeaders(this._lines));
  }

  header(name) {
    return this.headers[name];
  }

  get httpVersion() {
    return `${Math.floor(this._version / 10)}.${this._version % 10}`;
  }

  get searchParams() {
    return new URLSearchParams(this.query ?? '');
  }

  get body() {
    return this._body ?? EMPTY;
  }

  text() {
    return this.body.toString();
  }

  json() {
    return JSON.parse(this.body.toString());
  }
}

module.exports = { Request };

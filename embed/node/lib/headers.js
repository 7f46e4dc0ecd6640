'use strict';
// Header fields that the program sends.

const { oneOf } = require('./failure.js');

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 section 5.5: neither line breaks nor NUL, which would let foreign text write fields of its own; and ASCII. */
const UNFIT = /[^\t\x20-\x7e]/;
/** These follow from the connection and the body. */
const OURS = ['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'date'];

function invalid(message) {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_CHAR' });
}

/** One `Name: value` line; an empty one for the fields that the library writes. */
function headerLine(name, value) {
  if (!TOKEN.test(name)) throw invalid(`${JSON.stringify(name)} cannot be the name of a header field`);
  const text = String(value);
  const bad = UNFIT.exec(text);
  if (bad !== null) {
    const character = JSON.stringify(bad[0]);
    throw invalid(`the header field ${name} must not have the character ${character} in its value, at ${bad.index}; encodeURIComponent makes any text fit`);
  }
  return OURS.includes(name.toLowerCase()) ? '' : `${name}: ${text}\n`;
}

/** The fields of an object, a Map, Headers, or a list of pairs, as lines. */
function headerLines(headers) {
  if (headers === undefined || headers === null) return '';
  if (typeof headers !== 'object') throw new TypeError(`headers must be ${oneOf(['an object', 'a Map', 'a list of pairs'])}`);
  const pairs = typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers);
  let lines = '';
  for (const [name, value] of pairs) {
    if (Array.isArray(value)) for (const one of value) lines += headerLine(name, one);
    else if (value !== undefined) lines += headerLine(name, value);
  }
  return lines;
}

module.exports = { headerLine, headerLines };

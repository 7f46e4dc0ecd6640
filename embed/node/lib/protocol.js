'use strict';
// Protocols of the program's own.

const native = require('./native.js');

const protocols = [];
const byName = new Map();
const NOTHING = Symbol('nothing');
/** What send() was given, while the library has it encoded: it may be no bytes. */
let sending = NOTHING;

class Protocol {
  constructor({ input, decode, encode }) {
    this.input = input;
    this.decode = decode;
    this.encode = encode;
  }

  /** The library asks for the wire bytes before this returns. */
  send(conn, value) {
    sending = value;
    try {
      return native.connSend(conn._seat, '', 1);
    } finally {
      sending = NOTHING;
    }
  }
}

/**
 * Makes `scheme://` addresses possible. `input` finds the length of the first whole package in a Buffer: 0 if it takes more
 * bytes to tell, a negative number if the bytes are broken. `decode` makes the message of a package, `encode` the
 * package of a message; without them, they are the same.
 */
function protocol(scheme, functions) {
  for (const name of Object.keys(functions)) {
    if (!['input', 'decode', 'encode'].includes(name)) {
      throw new TypeError(`a protocol has input, decode and encode, and no ${name}`);
    }
    if (typeof functions[name] !== 'function') throw new TypeError(`${name} of the protocol ${scheme} must be a function`);
  }
  if (functions.input === undefined) {
    throw new TypeError(`the protocol ${scheme} needs input, which finds the length of a package`);
  }
  const made = new Protocol(functions);
  native.protocolRegister(scheme, protocols.length, made.encode !== undefined);
  protocols.push(made);
  byName.set(scheme, made);
}

/** The protocol of an address, if it is one of the program's own. */
function protocolOf(address) {
  const end = address.indexOf('://');
  return end < 0 ? undefined : byName.get(address.slice(0, end));
}

function onInput(index, bytes) {
  const length = protocols[index].input(bytes);
  if (!Number.isInteger(length)) throw new TypeError(`input must return a whole number, not ${length}`);
  return length;
}

/** For send() what it was given, for pushes of others the bytes that were pushed. */
function onEncode(index, bytes) {
  const value = sending === NOTHING ? bytes : sending;
  sending = NOTHING;
  return protocols[index].encode(value);
}

module.exports = { onEncode, onInput, protocol, protocolOf };

'use strict';
// What is said of errors, in logs and to users.

const { inspect } = require('node:util');

const LEVELS = { error: 1, warn: 2, info: 3, debug: 4, trace: 5 };

/** All that is known of what was thrown: an error's stack, its fields and its causes. */
function describe(thrown) {
  try {
    return thrown instanceof Error ? inspect(thrown) : `thrown: ${inspect(thrown)}`;
  } catch {
    return 'something was thrown that cannot be described';
  }
}

/** The same for the library, which takes the last line of several for what happened. */
function failureText(thrown) {
  const text = describe(thrown);
  try {
    return text.includes('\n') && thrown instanceof Error ? `${text}\n${thrown.name}: ${thrown.message}` : text;
  } catch {
    return text;
  }
}

function isPromise(value) {
  return value !== undefined && value !== null && typeof value.then === 'function';
}

/** "one of a, b and c": names in a message. */
function oneOf(names) {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names[names.length - 1]}`;
}

module.exports = { LEVELS, describe, failureText, isPromise, oneOf };

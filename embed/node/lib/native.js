'use strict';
// The addon with the library behind it. It says itself what is wrong if it cannot be loaded.

const { isMainThread } = require('node:worker_threads');

if (process.platform !== 'linux') {
  throw new Error(`workhive runs on Linux, not on ${process.platform}`);
}
if (!isMainThread) {
  throw new Error("workhive runs in Node's main thread only: load it there, not in a worker_threads Worker");
}

function load() {
  try {
    return require('../native/workhive.node');
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') {
      throw new Error('the addon of workhive is missing: in a checkout, embed/node/build makes it');
    }
    throw error;
  }
}

module.exports = load();

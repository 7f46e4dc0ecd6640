'use strict';
// Timers of Node, in which an error ends nothing: it is logged.

const { inspect } = require('node:util');
const native = require('./native.js');
const { describe, isPromise, LEVELS } = require('./failure.js');

const LONGEST = 2 ** 31 - 1;

class Timer {
  constructor(start, stop, ms, handler) {
    // Node would take all else as one millisecond.
    if (typeof ms !== 'number' || !(ms >= 0 && ms <= LONGEST)) {
      throw new RangeError(`a timer takes 0 to ${LONGEST} milliseconds, not ${inspect(ms)}`);
    }
    if (typeof handler !== 'function') throw new TypeError(`a timer calls a function, not ${inspect(handler)}`);
    this._stop = stop;
    const failed = (error) => native.hiveLog(LEVELS.error, describe(error));
    this._timer = start(() => {
      try {
        const result = handler(this);
        if (isPromise(result)) result.then(undefined, failed);
      } catch (error) {
        failed(error);
      }
    }, ms);
    // A process ends when its hive does, whatever it would do later.
    this._timer.unref();
  }

  cancel() {
    this._stop(this._timer);
  }
}

const after = (ms, handler) => new Timer(setTimeout, clearTimeout, ms, handler);
const every = (ms, handler) => new Timer(setInterval, clearInterval, ms, handler);

module.exports = { Timer, after, every };

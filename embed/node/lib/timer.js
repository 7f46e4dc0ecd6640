'use strict';
// Timers of Node, in which an error ends nothing: it is logged.

const native = require('./native.js');
const { describe, isPromise, LEVELS } = require('./failure.js');

class Timer {
  constructor(start, stop, ms, handler) {
    if (typeof handler !== 'function') throw new TypeError(`a timer calls a function, not ${typeof handler}`);
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

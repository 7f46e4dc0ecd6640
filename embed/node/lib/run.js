'use strict';
// The program's command line, the start of this process, and its end.

const path = require('node:path');
const { constants } = require('node:os');
const native = require('./native.js');
const { settings } = require('./dispatch.js');
const { describe, isPromise, LEVELS } = require('./failure.js');
const { hive } = require('./hive.js');
const { Worker } = require('./worker.js');

/** What a hive can be told by signals; the library says what each means to this process. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGTTIN', 'SIGTTOU'];
/** How long 'workerStop' may take; a little more and the master would end the process. */
const STOP_DEADLINE = 1800;
/** How long a process that is done may still have something in hand. */
const EXIT_DEADLINE = 200;

let begun = false;

function split(args) {
  const last = args[args.length - 1];
  const options = last instanceof Worker || Array.isArray(last) || last === undefined ? {} : last;
  const list = args.flat().filter((arg) => arg !== options);
  for (const worker of list) {
    if (!(worker instanceof Worker)) throw new TypeError('run() takes workers, and options as its last argument');
  }
  for (const name of Object.keys(options)) {
    if (!['name', 'about', 'log', 'argv'].includes(name)) throw new TypeError(`run() has no option '${name}': there are name, about, log and argv`);
  }
  if (list.length === 0) throw new TypeError('run() needs a worker');
  return { list, options };
}

function programName() {
  const script = process.argv[1];
  return script === undefined ? 'node' : path.basename(script, path.extname(script));
}

function define(list, { name = programName(), about, log }) {
  if (begun) throw new Error('a process has one hive: run() was called already');
  begun = true;
  native.hiveNew(name);
  if (about !== undefined) native.hiveAbout(about);
  if (log !== undefined) {
    settings.log = log;
    native.hiveLogWith();
  }
  for (const worker of list) native.hiveAdd(worker._define(true));
}

const onSignal = (name) => native.hiveSignal(constants.signals[name]);

/** Runs in the master and in each worker, until the process is over. */
function go(role) {
  hive.role = role === native.ROLE_WORKER ? 'worker' : 'master';
  for (const name of SIGNALS) process.on(name, onSignal);
  return new Promise((resolve) => {
    settings.over = (why) => end(why).then(resolve);
    native.loopStart();
  });
}

/** 'workerStop' of this process's group. What goes wrong in it, or takes too long, only the log is told. */
async function stopHandlers() {
  const worker = settings.mine;
  if (worker === undefined || !worker._has('workerStop')) return;
  try {
    const result = worker._emit('workerStop', worker);
    if (!isPromise(result)) return;
    const late = new Promise((resolve) => setTimeout(resolve, STOP_DEADLINE, true));
    if (await Promise.race([result.then(() => false), late])) {
      native.hiveLog(LEVELS.warn, `the handler of 'workerStop' took longer than ${STOP_DEADLINE} ms, and is left alone`);
    }
  } catch (error) {
    native.hiveLog(LEVELS.error, describe(error));
  }
}

/** The process is to end: by itself once it has nothing more in hand, and soon in any case. */
async function end(why) {
  if (why !== '') native.hiveLog(LEVELS.error, why);
  await stopHandlers();
  const code = native.hiveFinish();
  for (const name of SIGNALS) process.off(name, onSignal);
  process.exitCode = code;
  setTimeout(() => process.exit(code), EXIT_DEADLINE).unref();
  return code;
}

/**
 * Does what the command line says: starts the hive, or stops it, reloads it, shows its status. It returns in the processes
 * that live on, the master and each worker, which is this program run anew; all others end here with the exit code.
 */
function run(...args) {
  const { list, options } = split(args);
  define(list, options);
  const words = options.argv ?? process.argv.slice(2);
  const { role, code } = native.hiveStart([process.argv[1] ?? 'node', ...words]);
  if (role === native.ROLE_OVER) process.exit(code);
  return go(role);
}

/** Takes the place that `workhive run --attach` has for this process. */
function attach(worker, options = {}) {
  if (!(worker instanceof Worker)) throw new TypeError('attach() takes the worker that is to sit on the place');
  const { list } = split([worker]);
  define(list, options);
  const { role, code } = native.workerAttach();
  if (role === native.ROLE_OVER) process.exit(code);
  return go(role);
}

module.exports = { attach, run };

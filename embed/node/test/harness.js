'use strict';
// Real processes and real clients: programs are started, watched, and ended when the test is over, however it ends.

const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const WebSocket = require('ws');

/** Generous: machines of other people are slow, and nothing here measures time. */
const DEADLINE = 30_000;
const PACKAGE = path.join(__dirname, '..');

/** Tries until it is true; the one place where a test waits for a condition. */
async function eventually(what, attempt) {
  const end = Date.now() + DEADLINE;
  let last;
  while (Date.now() < end) {
    try {
      const value = await attempt();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await sleep(20);
  }
  throw new Error(`not within ${DEADLINE} ms: ${what}`, { cause: last });
}

/** A promise of an event that must come in time. */
async function soon(what, promise) {
  const late = new AbortController();
  const end = sleep(DEADLINE, undefined, { signal: late.signal }).then(() => {
    throw new Error(`not within ${DEADLINE} ms: ${what}`);
  });
  end.catch(() => {});
  try {
    return await Promise.race([promise, end]);
  } finally {
    late.abort();
  }
}

let nextPort = 20_000 + ((process.pid * 97) % 9_000);

/** A port below the ephemeral ones, on which nobody listens. */
async function freePort() {
  for (;;) {
    nextPort = nextPort >= 29_999 ? 20_000 : nextPort + 1;
    const server = net.createServer();
    const bound = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(nextPort, '127.0.0.1', () => resolve(true));
    });
    if (!bound) continue;
    await new Promise((resolve) => server.close(resolve));
    return nextPort;
  }
}

/** A folder of the test's own; in it, `require('workhive')` finds this package. */
function makeFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'workhive-node-'));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(PACKAGE, path.join(folder, 'node_modules', 'workhive'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A program that runs a hive. */
class Program {
  constructor(folder, file, env) {
    this.folder = folder;
    this.file = file;
    this.env = { ...process.env, XDG_RUNTIME_DIR: folder, ...env };
    // The test runner's own, which would make the program a test.
    delete this.env.NODE_TEST_CONTEXT;
    this.log = '';
    this.child = undefined;
  }

  start(...args) {
    this.child = spawn(process.execPath, [this.file, 'start', ...args], { cwd: this.folder, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.on('data', (data) => (this.log += data));
    this.child.stderr.on('data', (data) => (this.log += data));
    this.exited = once(this.child, 'exit').then(([code, signal]) => ({ code, signal }));
    return this;
  }

  /** Another verb of its command line. */
  async verb(...args) {
    return new Promise((resolve) => {
      execFile(process.execPath, [this.file, ...args], { cwd: this.folder, env: this.env, timeout: 60_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : error.code, stdout, stderr });
      });
    });
  }

  async logged(text, times = 1) {
    try {
      await eventually(`'${text}' in the log`, () => this.log.split(text).length > times || this.isGone());
      if (this.log.split(text).length <= times) throw new Error(`the program has ended, without '${text}' in its log`);
    } catch (error) {
      error.message += `\nthe log is:\n${this.log}`;
      throw error;
    }
  }

  isGone() {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async stop() {
    if (this.isGone()) return this.exited;
    this.child.kill('SIGTERM');
    return soon(`the end of ${this.file}`, this.exited);
  }
}

/** Writes a program, starts it, and waits until it is ready. It gets addresses by its environment. */
async function startProgram(t, text, { env = {}, args = [], file = 'app.js', ready = true } = {}) {
  const folder = makeFolder(t);
  fs.writeFileSync(path.join(folder, file), text);
  return startIn(t, folder, file, { env, args, ready });
}

/** The same with a program that is in a folder already. */
async function startIn(t, folder, file, { env = {}, args = [], ready = true } = {}) {
  const program = new Program(folder, file, env);
  t.after(async () => {
    if (!program.isGone()) program.child.kill('SIGINT');
    await soon('the end of the hive', program.exited).catch(() => program.child.kill('SIGKILL'));
  });
  program.start(...args);
  if (ready) await program.logged('Press Ctrl+C to stop');
  return program;
}

/** A WebSocket client that keeps what comes. */
class Client {
  constructor(url, options = {}) {
    this.socket = new WebSocket(url, options.protocols ?? [], options);
    this.messages = [];
    this.waiting = [];
    this.socket.on('message', (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const next = this.waiting.shift();
      if (next === undefined) this.messages.push(message);
      else next(message);
    });
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })));
  }

  static async open(t, port, options) {
    const client = new Client(`ws://127.0.0.1:${port}${options?.path ?? '/'}`, options);
    t.after(() => client.socket.terminate());
    await soon('an open WebSocket', once(client.socket, 'open'));
    return client;
  }

  send(data) {
    this.socket.send(data);
  }

  next() {
    const message = this.messages.shift();
    if (message !== undefined) return message;
    return soon('a message', new Promise((resolve) => this.waiting.push(resolve)));
  }

  async ask(data) {
    this.send(data);
    return this.next();
  }
}

/** A client of lines. */
class Lines {
  constructor(port) {
    this.socket = net.connect(port, '127.0.0.1');
    this.text = '';
    this.socket.setEncoding('utf8').on('data', (data) => (this.text += data));
    this.socket.on('error', () => {});
    this.closed = once(this.socket, 'close');
  }

  static async open(t, port) {
    const client = new Lines(port);
    t.after(() => client.socket.destroy());
    await soon('a connection', once(client.socket, 'connect'));
    return client;
  }

  async ask(line) {
    this.socket.write(`${line}\n`);
    return this.next();
  }

  async next() {
    await eventually('a line', () => this.text.includes('\n'));
    const end = this.text.indexOf('\n');
    const line = this.text.slice(0, end);
    this.text = this.text.slice(end + 1);
    return line;
  }
}

/** One request; the answer with its body. */
function fetchText(port, target, { method = 'GET', headers = {}, body, agent } = {}) {
  return soon(
    `the answer to ${method} ${target}`,
    new Promise((resolve, reject) => {
      const request = http.request({ host: '127.0.0.1', port, path: target, method, headers, agent: agent ?? false }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          resolve({ status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() });
        });
      });
      request.on('error', reject);
      request.end(body);
    }),
  );
}

module.exports = { Client, Lines, PACKAGE, eventually, fetchText, freePort, makeFolder, soon, startIn, startProgram };

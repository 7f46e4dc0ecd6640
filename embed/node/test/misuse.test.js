'use strict';
// Mistakes of programs: each is an error with words, thrown where it was made, and no process ends of it.
const assert = require('node:assert/strict');
const test = require('node:test');
const { Client, freePort, soon, startProgram } = require('./harness.js');

/** What a client says is run as JavaScript, and answered with what came of it. */
const OBEYS = `
  const { Worker, run } = require('workhive');
  const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT);
  async function obey(conn, text) {
    try {
      const value = await new Function('conn', 'worker', 'workhive', 'return ' + text)(conn, worker, require('workhive'));
      return 'value ' + JSON.stringify(value ?? null);
    } catch (error) {
      return (error.code ?? error.name) + ' ' + error.message;
    }
  }
  worker.on('message', async (conn, text) => { const said = await obey(conn, text); conn.send(said); });
  run(worker);
`;

const MISTAKES = [
  ['conn.send()', /^ERR_INVALID_ARG_TYPE .*must be a string, a Buffer or a Uint8Array/],
  ['conn.send(42)', /^ERR_INVALID_ARG_TYPE/],
  ['conn.send(Symbol("x"))', /^ERR_INVALID_ARG_TYPE/],
  ['conn.send(new Uint16Array(2))', /^ERR_INVALID_ARG_TYPE/],
  ['conn.send({ length: 1e15 })', /^ERR_INVALID_ARG_TYPE/],
  ['conn.close(-1)', /^RangeError a close code is a whole number/],
  ['conn.close("1000")', /^RangeError/],
  ['conn.close(1001)', /^WH_ERR_CLOSE_CODE/],
  ['conn.close(4000, "x".repeat(200))', /^WH_ERR_TOO_LONG/],
  ['conn.bindUid("")', /^WH_ERR_NAME/],
  ['conn.bindUid("u".repeat(256))', /^WH_ERR_NAME/],
  ['conn.bindUid(7)', /^ERR_INVALID_ARG_TYPE the uid must be/],
  ['conn.joinRoom()', /^ERR_INVALID_ARG_TYPE the room must be/],
  ['conn.unbindUid("nobody")', /^value false/],
  ['conn.leaveRoom("nowhere")', /^value false/],
  ['conn.pipe({})', /^TypeError pipe\(\) takes a connection, not {}/],
  ['conn.pipe(null)', /^TypeError/],
  ['conn.setSession("x".repeat(100000))', /^WH_ERR_TOO_LONG/],
  ['workhive.hive.sendToUid("", "x")', /^WH_ERR_NAME/],
  ['workhive.hive.sendToUid("u")', /^ERR_INVALID_ARG_TYPE/],
  ['workhive.hive.sendToUids("u", "x")', /^ERR_INVALID_ARG_TYPE the receivers must be an array/],
  ['workhive.hive.sendToUids(["u", 3], "x")', /^ERR_INVALID_ARG_TYPE/],
  ['workhive.hive.sendToUid("u", "x", { except: ["nonsense"] })', /^WH_ERR_VALUE/],
  ['workhive.hive.sendToConnection("nonsense", "x")', /^WH_ERR_VALUE/],
  ['workhive.hive.membersOfUid("")', /^WH_ERR_NAME/],
  ['workhive.hive.membersOfRoom(3)', /^ERR_INVALID_ARG_TYPE/],
  ['workhive.hive.sessionOf("nonsense")', /^WH_ERR_VALUE/],
  ['workhive.hive.joinConnection("nonsense", "r")', /^WH_ERR_VALUE/],
  ['workhive.hive.dismissRoom("")', /^WH_ERR_NAME/],
  ['workhive.hive.closeUid("u", 1)', /^WH_ERR_CLOSE_CODE/],
  ['workhive.hive.subscribe("t")', /^TypeError a topic calls a function/],
  ['workhive.hive.unsubscribe("never")', /^WH_ERR_NOT_BOUND/],
  ['workhive.hive.log("loud", "x")', /^TypeError a level is one of|^TypeError a level is/],
  ['workhive.hive.after(1)', /^TypeError a timer calls a function/],
  ['workhive.hive.after(Infinity, () => {})', /^RangeError a timer takes 0 to 2147483647 milliseconds, not Infinity/],
  ['workhive.hive.after(NaN, () => {})', /^RangeError/],
  ['workhive.hive.every(-1, () => {})', /^RangeError/],
  ['workhive.hive.every("1", () => {})', /^RangeError .*not '1'/],
  ['workhive.hive.sendToRoom("r", "x", { except: [5] })', /^TypeError except is a list of connections and ids; 5 is neither/],
  ['new workhive.Worker("nope://127.0.0.1:1").listen()', /^WH_ERR_SCHEME/],
  ['new workhive.Worker("text://nonsense").listen()', /^WH_ERR_ADDRESS/],
  ['new workhive.Worker("").listen()', /^WH_ERR_ADDRESS/],
  ['new workhive.Worker("text://127.0.0.1:1", { count: 2 }).listen()', /^WH_ERR_OPTION/],
  ['new workhive.Worker("text://127.0.0.1:1", { maxMessage: -1 }).listen()', /^WH_ERR_VALUE the worker at 'text:\/\/127.0.0.1:1' cannot have maxMessage: -1: (?!.*WH_)/],
  ['new workhive.Worker("text://127.0.0.1:1").on("request", () => {}).listen()', /^WH_ERR_OPTION/],
  ['new workhive.Worker("text://127.0.0.1:1").on("workerStart", () => {}).listen()', /^Error 'workerStart' concerns a process/],
  ['worker.on("close", () => {})', /^Error nobody listened to 'close' when the worker started/],
  ['worker.listen()', /^Error the worker at .* runs already/],
  ['workhive.run(worker)', /^Error a process has one hive/],
  ['new workhive.Connection(0).send("x")', /^TypeError/],
  // And all the while nothing has gone wrong with the process.
  ['conn.isOpen', /^value true/],
];

test('mistakes are errors with words, and no process ends of them', async (t) => {
  const port = await freePort();
  const program = await startProgram(t, OBEYS, { env: { PORT: port } });
  const client = await Client.open(t, port);
  for (const [text, expected] of MISTAKES) {
    client.send(text);
    const said = await Promise.race([client.next(), client.closed]);
    assert.match(String(said), expected, `${text}: ${JSON.stringify(said)}`);
  }
  assert.ok(!program.log.includes('exited'), program.log);
});

test('whatever a handler throws ends its connection with 1011, and nothing else', async (t) => {
  const port = await freePort();
  const program = await startProgram(
    t,
    `const { Worker, run } = require('workhive');
     const worker = new Worker('websocket://127.0.0.1:' + process.env.PORT);
     const evil = (field) => Object.defineProperty(new Error('evil'), field, { get() { throw new Error('no ' + field); } });
     const trap = new Proxy({}, { get() { throw new Error('trap'); }, getPrototypeOf() { throw new Error('trap'); } });
     const recurse = () => recurse() + 1;
     const things = { undefined: undefined, null: null, text: 'a text', symbol: Symbol('s'), object: { toString: null }, stack: evil('stack'), name: evil('name'),
       message: evil('message'), trap, inspect: { [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('no'); } } };
     worker.on('message', (conn, message) => {
       const [how, what] = message.split(' ');
       if (how === 'pid') return conn.send(String(process.pid));
       if (how === 'recurse') recurse();
       if (how === 'reject') return Promise.reject(things[what]);
       if (how === 'thenable') return { then: (good, bad) => bad(things[what]) };
       throw things[what];
     });
     run(worker);`,
    { env: { PORT: port } },
  );
  const witness = await Client.open(t, port);
  const pid = await witness.ask('pid');
  const names = ['undefined', 'null', 'text', 'symbol', 'object', 'stack', 'name', 'message', 'trap', 'inspect'];
  const words = names.flatMap((name) => [`throw ${name}`, `reject ${name}`, `thenable ${name}`]);
  for (const word of [...words, 'recurse']) {
    const client = await Client.open(t, port);
    client.send(word);
    assert.equal((await soon(`the end of "${word}"`, client.closed)).code, 1011, word);
  }
  assert.equal(await witness.ask('pid'), pid);
  await program.logged('Maximum call stack size exceeded');
});

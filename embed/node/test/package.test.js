'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { Client, Lines, PACKAGE, eventually, fetchText, freePort, makeFolder, startIn, startProgram } = require('./harness.js');

/** The compiler of today, and the last one of its kind before. */
function tsc(version, ...args) {
  const compiler = path.join(PACKAGE, 'node_modules', version, 'bin/tsc');
  return execFileSync(process.execPath, [compiler, ...args], { encoding: 'utf8', stdio: 'pipe' });
}

test('the tarball of npm pack installs in a fresh folder, without a compiler, and serves', async (t) => {
  const folder = makeFolder(t);
  fs.rmSync(path.join(folder, 'node_modules'), { recursive: true });
  const env = { ...process.env, npm_config_cache: path.join(folder, 'cache'), npm_config_update_notifier: 'false' };
  // The library of the tarball is to be found, not that of the developer.
  delete env.WORKHIVE_LIBRARY;
  delete env.NODE_TEST_CONTEXT;
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: PACKAGE, env, stdio: ['ignore', 'pipe', 'pipe'] }));
  assert.ok(packed.files.every(({ path: file }) => !/^(src|test|node_modules)\//.test(file)));
  fs.writeFileSync(path.join(folder, 'package.json'), '{"name":"fresh","private":true}');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', path.join(folder, packed.filename)], { cwd: folder, env: { ...env, CC: 'false' }, stdio: 'pipe' });
  fs.copyFileSync(path.join(folder, 'node_modules/workhive/examples/hello.js'), path.join(folder, 'hello.js'));
  const port = await freePort();
  await startIn(t, folder, 'hello.js', { env: { HELLO: `http://127.0.0.1:${port}`, WORKHIVE_LIBRARY: '' } });
  assert.equal((await fetchText(port, '/')).text, 'Hello, World!');
  assert.equal((await fetchText(port, '/hello/ann')).text, '<h1>Hello, ann!</h1>');
  assert.equal((await fetchText(port, '/hello/a%3Cb')).status, 404);
});

test('the example push pushes to the user that the line names', async (t) => {
  const [port, lines] = [await freePort(), await freePort()];
  const text = fs.readFileSync(path.join(PACKAGE, 'examples/push.js'), 'utf8');
  await startProgram(t, text, { env: { PUSH_WS: `websocket://127.0.0.1:${port}`, PUSH_TEXT: `text://127.0.0.1:${lines}` } });
  const client = await Client.open(t, port);
  client.send('uid1');
  const sender = await Lines.open(t, lines);
  await eventually('the user is there', async () => (await sender.ask('{"uid":"uid1","percent":"88%"}')) === 'ok');
  assert.equal(await client.next(), '{"uid":"uid1","percent":"88%"}');
  assert.equal(await sender.ask('{"uid":"nobody"}'), 'fail');
});

test('the example chat has rooms over four processes, and a page', async (t) => {
  const [page, port] = [await freePort(), await freePort()];
  const folder = makeFolder(t);
  for (const file of ['chat.js', 'chat.html']) fs.copyFileSync(path.join(PACKAGE, 'examples', file), path.join(folder, file));
  await startIn(t, folder, 'chat.js', { env: { CHAT_PAGE: `127.0.0.1:${page}`, CHAT_WS: `127.0.0.1:${port}` } });
  assert.match((await fetchText(page, '/')).text, new RegExp(`hostname}:${port}`));
  const until = async (client, wanted) => {
    for (;;) {
      const said = await client.next();
      if (said.includes(wanted)) return said;
    }
  };
  const [ann, bob] = [await Client.open(t, port), await Client.open(t, port)];
  ann.send('{"name":"ann","room":"lobby"}');
  await until(ann, '"here":1');
  bob.send('{"name":"bob","room":"lobby"}');
  await until(bob, '"here":2');
  bob.send('{"say":"hi"}');
  await until(ann, 'bob says: hi');
  ann.send('{"to":"bob","say":"psst"}');
  await until(bob, 'ann says to you alone: psst');
  ann.send('{"to":"carol","say":"psst"}');
  await until(ann, 'carol is not there');
  bob.socket.close();
  await until(ann, 'bob has gone');
});

test('the types fit the typed example, which runs, and what is wrong is refused', async (t) => {
  const folder = makeFolder(t);
  fs.symlinkSync(path.join(PACKAGE, 'node_modules/@types'), path.join(folder, 'node_modules/@types'));
  fs.copyFileSync(path.join(PACKAGE, 'examples/rooms.ts'), path.join(folder, 'rooms.ts'));
  tsc('typescript', '--strict', '--module', 'commonjs', '--target', 'es2022', '--outDir', folder, path.join(folder, 'rooms.ts'));
  fs.copyFileSync(path.join(__dirname, 'types.ts'), path.join(folder, 'types.ts'));
  for (const version of ['typescript', 'typescript-5']) {
    tsc(version, '--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', path.join(folder, 'types.ts'));
  }
  const port = await freePort();
  await startIn(t, folder, 'rooms.js', { env: { ROOMS: `websocket://127.0.0.1:${port}` } });
  const [one, two] = [await Client.open(t, port), await Client.open(t, port)];
  assert.equal(await one.ask('lobby'), 'welcome to lobby');
  assert.equal(await two.ask('lobby'), 'welcome to lobby');
  assert.equal(await one.ask('hi'), 'heard by 1');
  assert.equal(await two.next(), '1: hi');
});

test("the README's programs run as they stand, but for their ports", async (t) => {
  const readme = fs.readFileSync(path.join(PACKAGE, 'README.md'), 'utf8');
  const programs = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, text]) => text).filter((text) => /^run\(/m.test(text));
  assert.equal(programs.length, 3);
  const ports = new Map();
  for (const port of ['8080', '1234', '5678', '7000']) ports.set(port, await freePort());
  for (const text of programs) {
    await startProgram(t, text.replace(/:(8080|1234|5678|7000)'/g, (_, port) => `:${ports.get(port)}'`));
  }
  assert.equal((await fetchText(ports.get('8080'), '/')).text, 'Hello, World!');
  const user = await Client.open(t, ports.get('1234'));
  user.send('uid1');
  const sender = await Lines.open(t, ports.get('5678'));
  await eventually('the user is there', async () => (await sender.ask('{"uid":"uid1","percent":"88%"}')) === 'ok');
  assert.equal(await user.next(), '{"uid":"uid1","percent":"88%"}');
  const netstrings = await Lines.open(t, ports.get('7000'));
  netstrings.socket.write('5:hello,3:\u00e9a');
  netstrings.socket.write(',');
  await eventually('both netstrings', () => netstrings.text === '5:hello,3:\u00e9a,');
});

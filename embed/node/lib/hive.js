'use strict';
// What a process can do in its hive: reach users wherever they are, ask who is there, look at itself, end.

const { inspect } = require('node:util');
const native = require('./native.js');
const { BINARY, checkedCode, Connection, nameOf, TEXT } = require('./connection.js');
const { topics } = require('./dispatch.js');
const { LEVELS, oneOf } = require('./failure.js');
const timer = require('./timer.js');

const [TO_UID, TO_UIDS, TO_ROOM, TO_ROOMS, TO_ALL, TO_CONNECTION] = [0, 1, 2, 3, 4, 5];
const [UID, CONNECTION, ROOM] = [0, 1, 2];
const byTopic = new Map();

function idOf(other) {
  if (typeof other === 'string') return other;
  if (other instanceof Connection) return other.id;
  throw new TypeError(`except is a list of connections and ids; ${inspect(other)} is neither`);
}

function push(to, names, data, options) {
  // A connection that has ended gets nothing anyhow.
  const except = options?.except?.map(idOf).filter((id) => id !== undefined);
  return native.send(to, names, data, typeof data === 'string' ? TEXT : BINARY, except);
}

/** All pages, of which the first has been asked for: mistakes are thrown then. What the others lack is said to be missing. */
async function pages(first, take, next) {
  let partial = false;
  let asked = first;
  try {
    while (asked !== undefined) {
      const page = await asked;
      take(page);
      partial ||= page.partial;
      asked = next(page);
    }
  } catch {
    partial = true;
  }
  return partial;
}

/** The names of all uids, or of all rooms. */
function names(which) {
  const found = [];
  const ask = (from) => native.names(which, from);
  const take = (page) => found.push(...page.names.map(nameOf));
  const more = (page) => (page.next < 0 ? undefined : ask(page.next));
  return pages(ask(-1), take, more).then((partial) => ({ names: found, partial }));
}

/** The connections of a uid, of a room, or all. */
function members(which, name) {
  const found = [];
  const ask = (after) => native.members(which, name, after);
  const take = (page) => found.push(...page.members.map(({ id, uids }) => ({ id, uids: uids.map(nameOf) })));
  const more = (page) => (page.more && page.members.length > 0 ? ask(found.at(-1).id) : undefined);
  return pages(ask(''), take, more).then((partial) => ({ members: found, partial }));
}

const hive = {
  /** 'worker' or 'master'; undefined before run(). */
  role: undefined,

  get isWorker() {
    return hive.role === 'worker';
  },

  get isMaster() {
    return hive.role === 'master';
  },

  get place() {
    return hive.role === undefined ? undefined : native.hivePlace();
  },

  sendToUid: (uid, data, options) => push(TO_UID, [uid], data, options),
  sendToUids: (uids, data, options) => push(TO_UIDS, uids, data, options),
  sendToRoom: (room, data, options) => push(TO_ROOM, [room], data, options),
  sendToRooms: (rooms, data, options) => push(TO_ROOMS, rooms, data, options),
  sendToAll: (data, options) => push(TO_ALL, undefined, data, options),
  sendToConnection: (id, data) => push(TO_CONNECTION, [id], data),

  closeUid: (uid, code = 1000, reason = '') => native.close(UID, uid, checkedCode(code), reason),
  closeConnection: (id, code = 1000, reason = '') => native.close(CONNECTION, id, checkedCode(code), reason),
  closeRoom: (room, code = 1000, reason = '') => native.close(ROOM, room, checkedCode(code), reason),
  joinUid: (uid, room) => native.joinUid(uid, room),
  leaveUid: (uid, room) => native.leaveUid(uid, room),
  joinConnection: (id, room) => native.joinConnection(id, room),
  leaveConnection: (id, room) => native.leaveConnection(id, room),
  dismissRoom: (room) => native.dismissRoom(room),

  isUidOnline: (uid) => native.isUidOnline(uid),
  roomSize: (room) => native.roomSize(room),
  onlineCount: () => native.onlineCount(),
  uids: () => names(0),
  rooms: () => names(1),
  membersOfUid: (uid) => members(0, uid),
  membersOfRoom: (room) => members(1, room),
  members: () => members(2, ''),
  sessionOf: (id) => native.sessionOf(id),
  totals: () => native.totals(),

  subscribe(topic, handler) {
    if (typeof handler !== 'function') throw new TypeError(`a topic calls a function, not ${typeof handler}`);
    const key = String(topic);
    const index = byTopic.get(key) ?? topics.length;
    topics[index] = handler;
    byTopic.set(key, index);
    native.subscribe(topic, index);
  },

  unsubscribe: (topic) => native.unsubscribe(topic),
  publish: (topic, data) => native.publish(topic, data, typeof data === 'string' ? TEXT : BINARY),

  after: timer.after,
  every: timer.every,

  stats: () => native.hiveStats(),

  log(level, text) {
    if (LEVELS[level] === undefined) throw new TypeError(`a level is ${oneOf(Object.keys(LEVELS))}, not ${level}`);
    native.hiveLog(LEVELS[level], String(text));
  },

  stop: () => native.hiveStop(),
  stopAll: () => native.hiveStopAll(),
  reloadAll: () => native.hiveReloadAll(),
};

/** These speak to others, or look at this process: only a worker can. */
const OF_WORKERS = [
  'sendToUid', 'sendToUids', 'sendToRoom', 'sendToRooms', 'sendToAll', 'sendToConnection', 'closeUid', 'closeConnection',
  'closeRoom', 'joinUid', 'leaveUid', 'joinConnection', 'leaveConnection', 'dismissRoom', 'isUidOnline', 'roomSize', 'onlineCount',
  'uids', 'rooms', 'membersOfUid', 'membersOfRoom', 'members', 'sessionOf', 'totals', 'subscribe', 'unsubscribe', 'publish', 'stats',
];
const RUNNING = ['stop', 'stopAll', 'reloadAll'];

function only(name, isHere) {
  const run = hive[name];
  hive[name] = (...args) => {
    if (isHere()) return run(...args);
    const where = hive.isMaster ? 'in the master' : 'before run()';
    throw new Error(`hive.${name}() cannot be called ${where}: call it in a handler`);
  };
}

for (const name of OF_WORKERS) only(name, () => hive.isWorker);
for (const name of RUNNING) only(name, () => hive.role !== undefined);

module.exports = { hive };

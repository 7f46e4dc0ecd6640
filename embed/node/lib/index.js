'use strict';
// workhive for Node: the guide is in README.md, the types in index.d.ts.

const native = require('./native.js');
const { Connection } = require('./connection.js');
const { hive } = require('./hive.js');
const { protocol } = require('./protocol.js');
const { Request } = require('./request.js');
const { Response, ResponseWriter } = require('./response.js');
const { attach, run } = require('./run.js');
const { Timer } = require('./timer.js');
const { Worker } = require('./worker.js');

module.exports = { Connection, Request, Response, ResponseWriter, Timer, Worker, attach, hive, protocol, run, version: native.version };

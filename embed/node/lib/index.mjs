import workhive from './index.js';

export const { Connection, Request, Response, ResponseWriter, Timer, Worker, attach, hive, protocol, run, version } = workhive;
export default workhive;

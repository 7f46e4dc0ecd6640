/// <reference types="node" />

/** Bytes or text. Text goes to WebSockets as text messages, bytes as binary ones. */
export type Data = string | Uint8Array;

/** A user's id, a room, a topic: 1 to 255 bytes. One that comes back is a string, unless its bytes are not UTF-8. */
export type Name = string | Uint8Array;

/** Times are milliseconds, sizes bytes; what is left out is as the README's table of limits says. */
export interface WorkerOptions {
  /** The group's name, in titles, the status and the log. */
  name?: string;
  /** How many processes. */
  count?: number;
  /** Each process has a socket of its own, and the kernel spreads connections. */
  reusePort?: boolean;
  /** Only with listen(): the master opens the address, once for all processes that ask. */
  shared?: boolean;
  /** false: a reload leaves the processes and calls 'workerReload' in them. */
  reloadable?: boolean;
  backlog?: number;
  /** How long a process that goes away may finish what it has in hand. */
  drain?: number;
  /** How long 'workerStart' may take. */
  bootTimeout?: number;
  /** How long one turn of the loop may take, until the process counts as stuck and is replaced. */
  stuckAfter?: number;
  /** After so many messages the process is replaced. */
  maxRequests?: number;
  maxLifetime?: number;
  maxMemory?: number;
  nofile?: number;
  nice?: number;
  oomScoreAdj?: number;
  umask?: number;
  user?: string;
  group?: string;
  cpuAffinity?: string;
  chdir?: string;
  /** Why this group cannot have more than one process. */
  oneProcess?: string;
  /** How many bytes may wait to be sent on a connection. */
  maxSendBuffer?: number;
  /** false: connections have no uids and rooms. */
  routed?: boolean;
  maxUids?: number;
  maxRooms?: number;
  idleTimeout?: number;
  messageTimeout?: number;
  sendTimeout?: number;
  linger?: number;
  /** Connections stay when the peer has ended its side. */
  halfOpen?: boolean;
  maxMessage?: number;
  maxHead?: number;
  maxHeaders?: number;
  headerTimeout?: number;
  bodyTimeout?: number;
  keepAliveTimeout?: number;
  /** 0: none. */
  pingInterval?: number;
  pongTimeout?: number;
  closeTimeout?: number;
  handshakeTimeout?: number;
  maxFragments?: number;
}

/** Which process this is. */
export interface Place {
  /** The group's name. */
  group: string;
  /** 0 to count - 1. */
  slot: number;
  count: number;
  /** How often the slot has been filled. */
  generation: number;
  pid: number;
}

export interface CloseInfo {
  reason: 'peer' | 'local' | 'destroyed' | 'protocol' | 'error' | 'drained' | 'unknown';
  /** The code in the peer's close frame, if there was one. */
  code: number | undefined;
  /** And its reason. */
  peerReason: string;
  /** The reason in words. */
  text: string;
}

/** What went wrong with a connection. For 'callback', the message is what a handler has thrown; its stack is in the log. */
export interface ConnectionError extends Error {
  kind: 'protocol' | 'io' | 'idle' | 'callback' | 'panic' | 'slow' | 'unknown';
}

/** What a handler may return: a promise is waited for, and its rejection is a failure like what is thrown. */
export type Done = unknown;

export interface WorkerEvents<Message = string | Buffer, ConnectionData = any, Sent = Data> {
  /** A process starts; with a promise, it is ready and accepts when that is fulfilled. What is thrown fails the start. */
  workerStart: (worker: Worker<Message, ConnectionData, Sent>) => Done;
  /** A process ends, after its connections; a promise is waited for, up to 1.8 s. */
  workerStop: (worker: Worker<Message, ConnectionData, Sent>) => Done;
  /** A reload, with reloadable: false. */
  workerReload: (worker: Worker<Message, ConnectionData, Sent>) => Done;
  /** In every process: a uid has its first connection in the hive. */
  uidOnline: (uid: string | Buffer, worker: Worker<Message, ConnectionData, Sent>) => Done;
  /** In every process: a uid has lost its last connection. */
  uidOffline: (uid: string | Buffer, worker: Worker<Message, ConnectionData, Sent>) => Done;
  connect: (connection: Connection<ConnectionData, Sent>) => Done;
  /** All protocols but HTTP. Text comes as a string, other bytes as a Buffer. */
  message: (connection: Connection<ConnectionData, Sent>, message: Message, isText: boolean) => Done;
  /** HTTP. Returns the response, or uses the writer. */
  request: (request: Request<ConnectionData>, response: ResponseWriter) => Answer | Promise<Answer>;
  /** Once for each connection that has connected. */
  close: (connection: Connection<ConnectionData, Sent>, info: CloseInfo) => Done;
  error: (connection: Connection<ConnectionData, Sent>, error: ConnectionError) => Done;
  /** A send was refused because the buffer is full. */
  bufferFull: (connection: Connection<ConnectionData, Sent>) => Done;
  /** The buffer is empty again after that. */
  bufferDrain: (connection: Connection<ConnectionData, Sent>) => Done;
  /** The process goes away: the last words to this client. */
  goodbye: (connection: Connection<ConnectionData, Sent>) => Done;
  /** A WebSocket asks to be opened: it is accepted unless the handshake is told otherwise, at once. */
  websocketConnect: (connection: Connection<ConnectionData, Sent>, request: Request<ConnectionData>, handshake: Handshake) => void;
  /** The handshake has been answered: messages can be sent. */
  websocketConnected: (connection: Connection<ConnectionData, Sent>) => Done;
}

/** A group of processes, or a listener inside a running one. `Sent` is what its connections send: a protocol of one's own may take any value. */
export class Worker<Message = string | Buffer, ConnectionData = any, Sent = Data> {
  /** `websocket://`, `http://`, `text://`, `frame://`, `tcp://` or a protocol of one's own, with `HOST:PORT` or `unix:/PATH`; empty: no listener. */
  constructor(address?: string, options?: WorkerOptions);
  readonly address: string;
  readonly options: WorkerOptions;
  readonly name: string | undefined;
  /** Handlers of one event are called in order; 'request' has one. */
  on<Event extends keyof WorkerEvents>(event: Event, handler: WorkerEvents<Message, ConnectionData, Sent>[Event]): this;
  off<Event extends keyof WorkerEvents>(event: Event, handler: WorkerEvents<Message, ConnectionData, Sent>[Event]): this;
  /** Opens the listener in this process, as it runs. Throws if somebody listens there: the message names him, and the remedies. */
  listen(): this;
  unlisten(): void;
  pauseAccept(): void;
  resumeAccept(): void;
}

export interface ConnectionStats {
  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  /** Bytes that wait to be sent. */
  queued: number;
}

/** A connection of this process. One object for its whole life; after its end it does nothing, and is never another one. */
export class Connection<ConnectionData = any, Sent = Data> {
  private constructor();
  /** The program's own. */
  data: ConnectionData;
  readonly worker: Worker<any, any, any>;
  /** False: it was not taken, since the connection has ended or the send buffer is full ('bufferFull' follows, then 'bufferDrain'). */
  send(data: Sent): boolean;
  /** Says the protocol's goodbye and ends when all has been sent. WebSockets: 1000, or a code from 3000 on. */
  close(code?: number, reason?: string): void;
  /** Ends without a goodbye when all has been sent. False if the data, as of send(), was not taken. */
  end(data?: Sent): boolean;
  /** Ends now; what waits is lost. */
  destroy(): void;
  /** Ends it as if a handler had thrown this. */
  fail(error: unknown): void;
  pause(): this;
  resume(): this;
  /** What comes in here goes out there, no faster than that is read. */
  pipe<Target extends Connection<any, any>>(to: Target): Target;
  /** Fulfilled when sends are taken again ('bufferDrain'), at once if they are, and when the connection ends. */
  drained(): Promise<void>;
  readonly isOpen: boolean;
  /** Bytes that wait to be sent. */
  readonly queued: number;
  /** The hive's name for it, to be kept or sent elsewhere. */
  readonly id: string | undefined;
  /** 'websocket', 'http' .. */
  readonly protocol: string | undefined;
  /** undefined for Unix sockets. */
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  stats(): ConnectionStats | undefined;
  /** The first uid that it has. */
  readonly uid: string | Buffer | undefined;
  readonly uids: (string | Buffer)[];
  /** Fulfilled with true when every push that is sent from then on arrives, with false if the connection ended first. */
  bindUid(uid: Name): Promise<boolean>;
  /** The same for one connection at a time: others of this uid are closed. */
  claimUid(uid: Name): boolean;
  unbindUid(uid: Name): boolean;
  joinRoom(room: Name): Promise<boolean>;
  leaveRoom(room: Name): boolean;
  readonly rooms: (string | Buffer)[];
  readonly session: Buffer | undefined;
  setSession(data: Data): boolean;
}

/** A request. Its body has come whole. */
export class Request<ConnectionData = any> {
  private constructor();
  readonly connection: Connection<ConnectionData>;
  readonly method: string;
  /** As it came: path and query. */
  readonly url: string;
  readonly path: string;
  /** What is behind the "?", as it came. */
  readonly query: string | undefined;
  readonly searchParams: URLSearchParams;
  /** Found in any case: headers.host, headers['Content-Type']. Several of one name are joined. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  header(name: string): string | undefined;
  /** '1.1' */
  readonly httpVersion: string;
  readonly keepAlive: boolean;
  readonly body: Buffer;
  text(): string;
  json(): any;
}

export type HeadersInit =
  | Record<string, string | number | readonly string[] | undefined>
  | Iterable<readonly [string, string | number]>;

export type Body = Data | Iterable<Data> | AsyncIterable<Data>;

export interface ResponseInit {
  /** 200 unless set. */
  status?: number;
  /** Content-Length, Transfer-Encoding, Connection and Date are the library's and left out. */
  headers?: HeadersInit;
}

/** What a handler of 'request' may return; nothing if it uses the writer. */
export type Answer = Response | globalThis.Response | Data | void;

export class Response {
  /** A body that comes in pieces is sent in chunks, no faster than the client reads. */
  constructor(body?: Body | null, init?: ResponseInit);
  static text(text: string, init?: ResponseInit): Response;
  static html(text: string, init?: ResponseInit): Response;
  static json(value: unknown, init?: ResponseInit): Response;
  static redirect(location: string, status?: number): Response;
  readonly status: number;
  readonly body: Body;
  /** Adds a field. Line breaks in it are an error. */
  header(name: string, value: string | number): this;
}

/** The response as Node's http has it. */
export class ResponseWriter {
  private constructor();
  readonly connection: Connection;
  statusCode: number;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  setHeader(name: string, value: string | number | readonly string[]): this;
  getHeader(name: string): string | number | readonly string[] | undefined;
  removeHeader(name: string): void;
  writeHead(status: number, headers?: Record<string, string | number | readonly string[]>): this;
  /** Sends a chunk; false if it has to wait: then drained() tells when the next one may come. */
  write(chunk: Data): boolean;
  end(body?: Data): void;
  drained(): Promise<void>;
}

/** What becomes of a WebSocket that asks to be opened. */
export interface Handshake {
  refuse(status?: number, body?: string): this;
  subprotocol(name: string): this;
  header(name: string, value: string | number): this;
}

/** What became of a push. */
export interface Outcome {
  /** Connections that have it in their send buffer. */
  delivered: number;
  /** Connections that did not take it, because their buffer was full. */
  refused: number;
  /** A process died or did not answer: there may be more. */
  unknown: boolean;
  /** Nobody was asked, and nobody has it: the router was away, or too much waited. It can be sent again. */
  unrouted: boolean;
  /** At least one connection has it. */
  isDelivered: boolean;
}

export interface PushOptions {
  /** Connections that are left out, or their ids. */
  except?: (Connection<any, any> | string)[];
}

export interface Count {
  count: number;
  /** A process did not answer: there may be more. */
  partial: boolean;
}

export interface Names {
  names: (string | Buffer)[];
  partial: boolean;
}

export interface Members {
  members: { id: string; uids: (string | Buffer)[] }[];
  /** A process did not answer: there may be more. */
  partial: boolean;
}

/** How much there is in the hive. */
export interface Totals {
  uids: number;
  rooms: number;
  topics: number;
  processes: number;
  partial: boolean;
}

export interface Stats {
  connections: number;
  accepted: number;
  messagesIn: number;
  bytesIn: number;
  bytesOut: number;
  /** Sends that were refused: no room, or nobody there. */
  sendFailures: number;
}

export type Level = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** One of hive.after and hive.every. */
export class Timer {
  private constructor();
  cancel(): void;
}

/** The hive that this process is part of. Its promises are never rejected: what cannot be known is said to be unknown. */
export const hive: {
  readonly role: 'worker' | 'master' | undefined;
  readonly isWorker: boolean;
  readonly isMaster: boolean;
  /** Which worker this is; undefined in the master. */
  readonly place: Place | undefined;

  /** To all connections of a user, in whichever processes they are. */
  sendToUid(uid: Name, data: Data, options?: PushOptions): Promise<Outcome>;
  sendToUids(uids: Name[], data: Data, options?: PushOptions): Promise<Outcome>;
  sendToRoom(room: Name, data: Data, options?: PushOptions): Promise<Outcome>;
  sendToRooms(rooms: Name[], data: Data, options?: PushOptions): Promise<Outcome>;
  sendToAll(data: Data, options?: PushOptions): Promise<Outcome>;
  sendToConnection(id: string, data: Data): Promise<Outcome>;
  /** WebSockets: 1000, or a code from 3000 on. */
  closeUid(uid: Name, code?: number, reason?: string): void;
  closeConnection(id: string, code?: number, reason?: string): void;
  closeRoom(room: Name, code?: number, reason?: string): void;
  /** All connections of the user join the room. */
  joinUid(uid: Name, room: Name): void;
  leaveUid(uid: Name, room: Name): void;
  /** The same for one connection, by its id. */
  joinConnection(id: string, room: Name): void;
  leaveConnection(id: string, room: Name): void;
  /** All members leave the room; their connections stay. */
  dismissRoom(room: Name): void;

  /** null: not known. */
  isUidOnline(uid: Name): Promise<boolean | null>;
  roomSize(room: Name): Promise<Count>;
  /** How many connections sendToAll reaches. */
  onlineCount(): Promise<Count>;
  uids(): Promise<Names>;
  rooms(): Promise<Names>;
  membersOfUid(uid: Name): Promise<Members>;
  membersOfRoom(room: Name): Promise<Members>;
  /** All connections that sendToAll reaches. */
  members(): Promise<Members>;
  /** What the connection has set by setSession: empty if nothing. undefined: there is no such connection; null: not known. */
  sessionOf(id: string): Promise<Buffer | undefined | null>;
  totals(): Promise<Totals>;

  /** Messages between processes: each that has subscribed gets what any publishes. */
  subscribe(topic: string, handler: (data: string | Buffer) => Done): void;
  unsubscribe(topic: string): void;
  publish(topic: string, data: Data): void;

  /** setTimeout and setInterval in which an error is logged, and ends nothing. */
  after(ms: number, handler: (timer: Timer) => Done): Timer;
  every(ms: number, handler: (timer: Timer) => Done): Timer;

  /** What this process has counted. */
  stats(): Stats;
  /** To the hive's log; each line of the text becomes one. */
  log(level: Level, text: string): void;

  /** Ends this process gracefully; the master starts another. */
  stop(): void;
  stopAll(): void;
  reloadAll(): void;
};

export interface RunOptions {
  /** In titles and file names; the program's file name unless set. */
  name?: string;
  /** For --help. */
  about?: string;
  /** Gets the log's lines, instead of standard error or the log file. */
  log?: (level: Level, text: string) => void;
  /** The command line, instead of process.argv from its third word on. */
  argv?: string[];
}

/** Does what the command line says. In the processes that live on it returns, and is fulfilled with the exit code when the process is over; in all others it ends the process. */
export function run(...workers: Worker<any, any, any>[]): Promise<number>;
export function run(...workersAndOptions: [...Worker<any, any, any>[], RunOptions]): Promise<number>;
export function run(workers: Worker<any, any, any>[], options?: RunOptions): Promise<number>;

/** Takes the place that `workhive run --attach` has for this process. */
export function attach(worker: Worker<any, any, any>, options?: RunOptions): Promise<number>;

export interface ProtocolFunctions<Message> {
  /** The length of the first whole package; 0: it takes more bytes to tell; negative: they are broken. */
  input(bytes: Buffer): number;
  /** The message of a package; without it, the package. */
  decode?(bytes: Buffer): Message;
  /** The package of what was given to send(), or of the bytes that were pushed. */
  encode?(message: any): Data;
}

/** Makes `scheme://` addresses possible. */
export function protocol<Message = Buffer>(scheme: string, functions: ProtocolFunctions<Message>): void;

/** The library's. */
export const version: string;

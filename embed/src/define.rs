//! From what a host has set to what a worker runs.

use std::cell::Cell;
use std::time::Duration;

use workhive::codec::{FrameConfig, TextConfig};
use workhive::{
    CloseReason, Conn, ConnectionError, Frame, Group, Http, HttpConfig, Listener, Message, Process,
    Protocol, Raw, Result, Spawn, Text, Uid, WebSocket, WebSocketConfig,
};
use workhive_worker::Definition;

use crate::bytes::wh_bytes;
use crate::callback::{Callback, OfConn, Plain, call, call_for, failed};
use crate::codes::{WH_ERR_VALUE, WH_OK, WH_PENDING};
use crate::conn::{self, wh_close_info};
use crate::error::{Failure, Outcome};
use crate::events::Events;
use crate::handles::number_of;
use crate::opening;
use crate::options::{
    Options, WH_BACKLOG, WH_BODY_TIMEOUT, WH_BOOT_TIMEOUT, WH_CHDIR, WH_CLOSE_TIMEOUT, WH_COUNT,
    WH_CPU_AFFINITY, WH_DRAIN, WH_GROUP, WH_HALF_OPEN, WH_HANDSHAKE_TIMEOUT, WH_HEADER_TIMEOUT,
    WH_IDLE_TIMEOUT, WH_KEEP_ALIVE_TIMEOUT, WH_LINGER, WH_MAX_FRAGMENTS, WH_MAX_HEAD,
    WH_MAX_HEADERS, WH_MAX_LIFETIME, WH_MAX_MEMORY, WH_MAX_MESSAGE, WH_MAX_REQUESTS, WH_MAX_ROOMS,
    WH_MAX_SEND_BUFFER, WH_MAX_UIDS, WH_MESSAGE_TIMEOUT, WH_NAME, WH_NICE, WH_NOFILE,
    WH_ONE_PROCESS, WH_OOM_SCORE_ADJ, WH_PING_INTERVAL, WH_PONG_TIMEOUT, WH_RELOADABLE,
    WH_REUSE_PORT, WH_ROUTED, WH_SEND_TIMEOUT, WH_SHARED, WH_SPAWN, WH_SPAWN_EXEC, WH_STUCK_AFTER,
    WH_UMASK, WH_USER,
};
use crate::protocol::{Foreign, ForeignConfig, Speech};
use crate::request;

/// The number of a connection, kept with it; 0 for one that has none, of which the host never hears. When it goes, `on_close` has returned.
#[derive(Debug, Default)]
pub(crate) struct Tag(Cell<u64>);

impl Drop for Tag {
    fn drop(&mut self) {
        conn::forget(self.0.get());
    }
}

/// What a host has said of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    pub(crate) speech: Speech,
    /// Without the scheme; None for processes without a listener.
    pub(crate) address: Option<String>,
    pub(crate) options: Options,
    pub(crate) events: Events,
}

/// A protocol whose listeners call functions of the host.
trait Speaks: Protocol {
    fn configure(config: &mut Self::Config, sketch: &Sketch);
    fn hear(listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag>;
}

impl Sketch {
    /// The group that is to run in a hive. `usual`: how processes come to be that do not say it.
    pub(crate) fn group(&self) -> Outcome<Group> {
        self.options.check_group()?;
        let group = match self.speech {
            Speech::Tcp => self.group_of::<Raw>(),
            Speech::Text => self.group_of::<Text>(),
            Speech::Frame => self.group_of::<Frame>(),
            Speech::Http => self.group_of::<Http>(),
            Speech::WebSocket => self.group_of::<WebSocket>(),
            Speech::Own(_) => self.group_of::<Foreign>(),
        }?;
        match group.problem() {
            Some(problem) => Err(Failure::made(WH_ERR_VALUE, problem)),
            None => Ok(group),
        }
    }

    /// Opens it as a listener of this process.
    pub(crate) fn listen(&self) -> Outcome {
        self.options.check_listener()?;
        match self.speech {
            Speech::Tcp => self.listen_as::<Raw>(),
            Speech::Text => self.listen_as::<Text>(),
            Speech::Frame => self.listen_as::<Frame>(),
            Speech::Http => self.listen_as::<Http>(),
            Speech::WebSocket => self.listen_as::<WebSocket>(),
            Speech::Own(_) => self.listen_as::<Foreign>(),
        }
    }

    fn listen_as<P: Speaks>(&self) -> Outcome {
        let listener = Listener::<P>::new(self.address.clone().unwrap_or_default());
        let mut listener = self.dress(listener.data(Tag::default));
        if let Some(yes) = self.options.flag(WH_SHARED) {
            listener = listener.shared(yes);
        }
        if let Some(yes) = self.options.flag(WH_REUSE_PORT) {
            listener = listener.reuse_port(yes);
        }
        Ok(Process::here(|process| process.listen(listener))?)
    }

    fn group_of<P: Speaks>(&self) -> Outcome<Group> {
        let options = &self.options;
        let name = options.text(WH_NAME).unwrap_or_else(|| match self.address {
            Some(_) => self.speech.name(),
            None => "worker",
        });
        let definition = self.definition::<P>();
        let address = match self.address {
            Some(_) => {
                let parsed = definition.listener.parse_address();
                Some(parsed.map_err(|error| Failure::from(&error))?)
            }
            None => None,
        };
        let mut group = Group::new(name, definition.into_program());
        if let Some(address) = address {
            group = group.address(address);
        }
        Ok(dress_group(group, options))
    }

    fn definition<P: Speaks>(&self) -> Definition<P, (), Tag> {
        let address = self.address.clone().unwrap_or_default();
        let mut definition = Definition::<P>::new(address)
            .map_listener(|listener| self.dress(listener.data(Tag::default)));
        let events = &self.events;
        if let Some(start) = events.start.clone() {
            definition = definition.on_worker_start(move |process| begin(process, &start));
        }
        if let Some(stop) = events.stop.clone() {
            definition = definition.on_worker_stop(move |_| of_process(&stop));
        }
        if let Some(reload) = events.reload.clone() {
            definition = definition.on_worker_reload(move |_| of_process(&reload));
        }
        if let Some(online) = events.online.clone() {
            definition = definition.on_uid_online(move |_, uid| of_uid(&online, uid));
        }
        if let Some(offline) = events.offline.clone() {
            definition = definition.on_uid_offline(move |_, uid| of_uid(&offline, uid));
        }
        definition
    }

    fn dress<P: Speaks>(&self, mut listener: Listener<P, (), Tag>) -> Listener<P, (), Tag> {
        let options = &self.options;
        listener = listener
            .called(self.speech.name())
            .configure(|config| P::configure(config, self));
        if let Some(connections) = options.u32(WH_BACKLOG) {
            listener = listener.backlog(connections);
        }
        if let Some(bytes) = options.size(WH_MAX_SEND_BUFFER) {
            listener = listener.max_send_buffer(bytes);
        }
        if let Some(yes) = options.flag(WH_ROUTED) {
            listener = listener.routed(yes);
        }
        if let Some(uids) = options.u16(WH_MAX_UIDS) {
            listener = listener.max_uids(uids);
        }
        if let Some(rooms) = options.u16(WH_MAX_ROOMS) {
            listener = listener.max_rooms(rooms);
        }
        if let Some(time) = options.time(WH_IDLE_TIMEOUT) {
            listener = listener.idle_timeout(time);
        }
        if let Some(time) = options.time(WH_MESSAGE_TIMEOUT) {
            listener = listener.message_timeout(time);
        }
        if let Some(time) = options.time(WH_SEND_TIMEOUT) {
            listener = listener.send_timeout(time);
        }
        if let Some(time) = options.time(WH_LINGER) {
            listener = listener.linger(time);
        }
        if let Some(yes) = options.flag(WH_HALF_OPEN) {
            listener = listener.half_open(yes);
        }
        P::hear(common(listener, &self.events), &self.events)
    }
}

fn dress_group(mut group: Group, options: &Options) -> Group {
    if let Some(count) = options.size(WH_COUNT) {
        group = group.count(count);
    }
    if let Some(connections) = options.u32(WH_BACKLOG) {
        group = group.backlog(connections);
    }
    if let Some(yes) = options.flag(WH_REUSE_PORT) {
        group = group.reuse_port(yes);
    }
    if let Some(yes) = options.flag(WH_RELOADABLE) {
        group = group.reloadable(yes);
    }
    if let Some(user) = options.text(WH_USER) {
        group = group.user(user);
    }
    if let Some(name) = options.text(WH_GROUP) {
        group = group.unix_group(name);
    }
    if let Some(window) = options.time(WH_DRAIN) {
        group = group.drain(window);
    }
    if let Some(time) = options.time(WH_BOOT_TIMEOUT) {
        group = group.boot_timeout(time);
    }
    if let Some(time) = options.time(WH_STUCK_AFTER) {
        group = group.stuck_after(time);
    }
    if let Some(messages) = options.u64(WH_MAX_REQUESTS) {
        group = group.max_requests(messages);
    }
    if let Some(age) = options.time(WH_MAX_LIFETIME) {
        group = group.max_lifetime(age);
    }
    if let Some(bytes) = options.u64(WH_MAX_MEMORY) {
        group = group.max_memory(bytes);
    }
    if let Some(descriptors) = options.u64(WH_NOFILE) {
        group = group.nofile(descriptors);
    }
    if let Some(value) = options
        .number(WH_NICE)
        .and_then(|value| value.try_into().ok())
    {
        group = group.nice(value);
    }
    if let Some(score) = options
        .number(WH_OOM_SCORE_ADJ)
        .and_then(|score| score.try_into().ok())
    {
        group = group.oom_score_adj(score);
    }
    if let Some(mask) = options.u32(WH_UMASK) {
        group = group.umask(mask);
    }
    if let Some(cpus) = options.text(WH_CPU_AFFINITY) {
        group = group.cpu_affinity(cpus);
    }
    if let Some(directory) = options.text(WH_CHDIR) {
        group = group.chdir(directory);
    }
    if let Some(why) = options.text(WH_ONE_PROCESS) {
        group = group.one_process_only(why);
    }
    if let Some(spawn) = options.number(WH_SPAWN) {
        group = group.spawn(spawn_of(spawn));
    }
    group
}

/// How processes come to be, as an option says it.
pub(crate) fn spawn_of(value: i64) -> Spawn {
    if value == WH_SPAWN_EXEC {
        Spawn::Exec
    } else {
        Spawn::Fork
    }
}

/// What the host says with WH_PENDING it may have taken back by wh_ready before it says it: so the process waits from the
/// beginning.
fn begin(process: &mut Process<'_>, callback: &Callback<Plain>) -> Result {
    process.defer_ready();
    // SAFETY: the host's own function with its own pointer.
    match call_for(|| unsafe { (callback.function)(callback.user()) }) {
        (WH_PENDING, _) => Ok(()),
        (WH_OK, _) => {
            process.ready();
            Ok(())
        }
        (code, why) => Err(failed(code, why)),
    }
}

fn of_process(callback: &Callback<Plain>) -> Result {
    // SAFETY: the host's own function with its own pointer.
    call(|| unsafe { (callback.function)(callback.user()) })
}

fn of_uid(callback: &Callback<crate::callback::OnUid>, uid: &Uid) -> Result {
    // SAFETY: as above; the uid is lent until the function returns.
    call(|| unsafe { (callback.function)(callback.user(), uid.as_ptr(), uid.len()) })
}

fn of_conn<P: Protocol>(callback: &Callback<OfConn>, conn: &Conn<'_, P, (), Tag>) -> Result {
    let number = conn.data().0.get();
    if number == 0 {
        return Ok(());
    }
    // SAFETY: the host's own function with its own pointer.
    call(|| unsafe { (callback.function)(callback.user(), number) })
}

/// What connections of all protocols have.
fn common<P: Protocol>(
    mut listener: Listener<P, (), Tag>,
    events: &Events,
) -> Listener<P, (), Tag> {
    let connect = events.connect.clone();
    listener = listener.on_connect(move |conn| {
        let Some(number) = number_of(conn.handle().untyped()) else {
            log::error!("this process has more connections than there are numbers for them");
            conn.destroy();
            return Ok(());
        };
        conn.data().0.set(number);
        match &connect {
            Some(callback) => of_conn(callback, conn),
            None => Ok(()),
        }
    });
    if let Some(close) = events.close.clone() {
        listener = listener.on_close(move |conn| {
            let number = conn.data().0.get();
            if number == 0 {
                return Ok(());
            }
            let text = conn
                .close_reason()
                .map_or_else(String::new, ToString::to_string);
            let (peer_code, peer_reason) = conn.peer_goodbye().unwrap_or((0, ""));
            let info = wh_close_info {
                reason: conn.close_reason().map_or(0, reason_number),
                peer_code,
                peer_reason: wh_bytes::of(peer_reason.as_bytes()),
                text: wh_bytes::of(text.as_bytes()),
            };
            // SAFETY: the host's own function; what it is shown is good until it returns.
            call(|| unsafe { (close.function)(close.user(), number, &raw const info) })
        });
    }
    if let Some(error) = events.error.clone() {
        listener = listener.on_error(move |conn, what| {
            let number = conn.data().0.get();
            if number == 0 {
                return Ok(());
            }
            let text = what.to_string();
            // SAFETY: the host's own function; the text is good until it returns.
            call(|| unsafe {
                (error.function)(
                    error.user(),
                    number,
                    error_kind(what),
                    text.as_ptr().cast(),
                    text.len(),
                )
            })
        });
    }
    if let Some(full) = events.buffer_full.clone() {
        listener = listener.on_buffer_full(move |conn| of_conn(&full, conn));
    }
    if let Some(drain) = events.buffer_drain.clone() {
        listener = listener.on_buffer_drain(move |conn| of_conn(&drain, conn));
    }
    if let Some(goodbye) = events.goodbye.clone() {
        listener = listener.on_goodbye(move |conn| of_conn(&goodbye, conn));
    }
    listener
}

fn reason_number(reason: &CloseReason) -> u32 {
    match reason {
        CloseReason::Peer => conn::WH_CLOSED_PEER,
        CloseReason::Local => conn::WH_CLOSED_LOCAL,
        CloseReason::Destroyed => conn::WH_CLOSED_DESTROYED,
        CloseReason::Protocol => conn::WH_CLOSED_PROTOCOL,
        CloseReason::Drained => conn::WH_CLOSED_DRAINED,
        _ => conn::WH_CLOSED_ERROR,
    }
}

fn error_kind(error: &ConnectionError) -> u32 {
    match error {
        ConnectionError::Protocol(error) if error.blame == workhive::codec::Blame::Time => {
            conn::WH_ERROR_SLOW
        }
        ConnectionError::Protocol(_) => conn::WH_ERROR_PROTOCOL,
        ConnectionError::Idle { .. } => conn::WH_ERROR_IDLE,
        ConnectionError::Callback { .. } => conn::WH_ERROR_CALLBACK,
        ConnectionError::Panic { .. } => conn::WH_ERROR_PANIC,
        _ => conn::WH_ERROR_IO,
    }
}

/// Protocols whose messages are payloads.
fn messages<P>(listener: Listener<P, (), Tag>, events: &Events) -> Listener<P, (), Tag>
where
    P: for<'a> Protocol<Message<'a> = Message<'a>>,
{
    let Some(message) = events.message.clone() else {
        return listener;
    };
    listener.on_message(move |conn, payload| {
        let number = conn.data().0.get();
        let bytes = payload.as_bytes();
        // SAFETY: the host's own function; the bytes are good until it returns.
        call(|| unsafe {
            (message.function)(
                message.user(),
                number,
                bytes.as_ptr(),
                bytes.len(),
                i32::from(payload.is_text()),
            )
        })
    })
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl Speaks for Raw {
    fn configure(_config: &mut Self::Config, _sketch: &Sketch) {}

    fn hear(listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag> {
        messages(listener, events)
    }
}

impl Speaks for Text {
    fn configure(config: &mut TextConfig, sketch: &Sketch) {
        set(&mut config.max_message, sketch.options.size(WH_MAX_MESSAGE));
    }

    fn hear(listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag> {
        messages(listener, events)
    }
}

impl Speaks for Frame {
    fn configure(config: &mut FrameConfig, sketch: &Sketch) {
        set(&mut config.max_message, sketch.options.size(WH_MAX_MESSAGE));
    }

    fn hear(listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag> {
        messages(listener, events)
    }
}

impl Speaks for Foreign {
    fn configure(config: &mut ForeignConfig, sketch: &Sketch) {
        set(&mut config.max_message, sketch.options.size(WH_MAX_MESSAGE));
        if let Speech::Own(own) = &sketch.speech {
            config.own = Some(std::rc::Rc::clone(own));
        }
    }

    fn hear(listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag> {
        messages(listener, events)
    }
}

impl Speaks for Http {
    fn configure(config: &mut HttpConfig, sketch: &Sketch) {
        let options = &sketch.options;
        set(&mut config.max_message, options.size(WH_MAX_MESSAGE));
        set(&mut config.max_head, options.size(WH_MAX_HEAD));
        set(&mut config.max_headers, options.size(WH_MAX_HEADERS));
        set(&mut config.header_timeout, options.time(WH_HEADER_TIMEOUT));
        set(&mut config.body_timeout, options.time(WH_BODY_TIMEOUT));
        set(
            &mut config.keep_alive_timeout,
            options.time(WH_KEEP_ALIVE_TIMEOUT),
        );
    }

    fn hear(listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag> {
        let Some(callback) = events.request.clone() else {
            return listener;
        };
        listener.on_message(move |conn, request| {
            let number = conn.data().0.get();
            request::lend(&request, |lent| {
                // SAFETY: the host's own function; the request is good until it returns.
                call(|| unsafe { (callback.function)(callback.user(), number, lent) })
            })
        })
    }
}

impl Speaks for WebSocket {
    fn configure(config: &mut WebSocketConfig, sketch: &Sketch) {
        let options = &sketch.options;
        set(&mut config.max_message, options.size(WH_MAX_MESSAGE));
        set(&mut config.max_fragments, options.size(WH_MAX_FRAGMENTS));
        set(&mut config.max_head, options.size(WH_MAX_HEAD));
        set(&mut config.max_headers, options.size(WH_MAX_HEADERS));
        set(
            &mut config.handshake_timeout,
            options.time(WH_HANDSHAKE_TIMEOUT),
        );
        set(&mut config.pong_timeout, options.time(WH_PONG_TIMEOUT));
        set(&mut config.close_timeout, options.time(WH_CLOSE_TIMEOUT));
        if let Some(interval) = options.time(WH_PING_INTERVAL) {
            config.ping_interval = (interval > Duration::ZERO).then_some(interval);
        }
    }

    fn hear(mut listener: Listener<Self, (), Tag>, events: &Events) -> Listener<Self, (), Tag> {
        if let Some(callback) = events.opening.clone() {
            listener = listener.on_websocket_connect(move |conn, handshake| {
                let number = conn.data().0.get();
                opening::lend(handshake, |lent| {
                    // SAFETY: the host's own function; the handshake is good until it returns.
                    call(|| unsafe { (callback.function)(callback.user(), number, lent) })
                })
            });
        }
        if let Some(callback) = events.opened.clone() {
            listener = listener.on_websocket_connected(move |conn| of_conn(&callback, conn));
        }
        messages(listener, events)
    }
}

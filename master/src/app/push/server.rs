//! The processes of the push server.

use std::rc::Rc;

use workhive_protocols::Protocol;
use workhive_worker::{Address, Listener, Process, Result};

use super::clients::{self, Session};
use super::counted::Counted;
use super::options::Options;
use super::{http, text};
use crate::Worker;

/// What a process has beside its connections.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Messages of clients that have no meaning.
    pub(super) ignored: Counted,
    /// Lines that are not even JSON.
    pub(super) strangers: Counted,
}

/// The group of the push server.
pub(super) fn worker(options: Options) -> Worker<workhive_protocols::WebSocket, State, Session> {
    let options = Rc::new(options);
    clients::worker(&options)
        .name("push")
        .reuse_port(options.reuse_port)
        .on_worker_start(move |worker| start(worker, &options))
}

fn start(worker: &mut Process<'_, State>, options: &Rc<Options>) -> Result {
    // Once in the life of the hive: who reloads it has seen them.
    if worker.slot() == 0 && worker.place().generation() == 0 {
        for notice in &options.notices {
            log::log!(notice.level, "{}", notice.text);
        }
    }
    let text = text::listener(listener(worker, &options.text));
    worker.listen(text)?;
    if let Some(address) = &options.http {
        let http = http::listener(listener(worker, address), options.token.clone());
        worker.listen(http)?;
    }
    Ok(())
}

/// A listener that every process opens: each with a socket of its own, or all with one where there is no other way.
fn listener<P: Protocol>(worker: &Process<'_, State>, address: &str) -> Listener<P, State> {
    let listener = worker.listener::<P>(address);
    let is_unix = matches!(listener.parse_address(), Ok(Address::Unix(_)));
    if is_unix {
        listener.shared(true)
    } else {
        listener.reuse_port(true)
    }
}

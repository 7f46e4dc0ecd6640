//! The functions that a worker is to call.

use std::rc::Rc;

use crate::callback::{
    Callback, OfConn, OnClose, OnError, OnMessage, OnOpening, OnRequest, OnUid, Plain,
};

type Event<F> = Option<Rc<Callback<F>>>;

/// What a worker calls when. A function that runs is held by whoever called it, so it may be replaced meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    pub(crate) start: Event<Plain>,
    pub(crate) stop: Event<Plain>,
    pub(crate) reload: Event<Plain>,
    pub(crate) online: Event<OnUid>,
    pub(crate) offline: Event<OnUid>,
    pub(crate) connect: Event<OfConn>,
    pub(crate) message: Event<OnMessage>,
    pub(crate) request: Event<OnRequest>,
    pub(crate) close: Event<OnClose>,
    pub(crate) error: Event<OnError>,
    pub(crate) buffer_full: Event<OfConn>,
    pub(crate) buffer_drain: Event<OfConn>,
    pub(crate) goodbye: Event<OfConn>,
    pub(crate) opening: Event<OnOpening>,
    pub(crate) opened: Event<OfConn>,
}

impl Events {
    /// True if something is to be called that only a group of processes has.
    pub(crate) fn of_process(&self) -> bool {
        self.start.is_some()
            || self.stop.is_some()
            || self.reload.is_some()
            || self.online.is_some()
            || self.offline.is_some()
    }
}

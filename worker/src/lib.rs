//! One worker process: event loop, listeners, connections, timers.
//!
//! A process has one loop on one thread. It never forks, and handles no signals but those that end it. User code is
//! called from the loop, one callback at a time, so it needs no locks; it reaches the loop through what it is given:
//! [`Conn`] in a connection's callbacks, [`Process`] in all others, [`Handle`] for later.
#![deny(unsafe_code)]

mod address;
mod alarm;
mod bind;
mod clock;
mod conn;
mod core;
mod definition;
mod drain;
mod driver;
mod entry;
mod error;
mod handle;
mod holder;
mod input;
mod link;
mod listener;
mod listening;
mod listing;
mod output;
mod pipe;
mod pool;
mod process;
mod route;
mod running;
mod seat;
mod settle;
mod steer;
#[expect(
    unsafe_code,
    reason = "the island for epoll_ctl with EPOLLEXCLUSIVE and for classic BPF"
)]
mod sys;
mod timer;
mod turn;
mod uid;
mod wheel;

pub use self::core::touch;
pub use address::{Address, AddressError};
pub use bind::{bind, probe};
pub use conn::Conn;
pub use definition::Definition;
pub use drain::on_drain;
pub use entry::{CloseReason, Peer};
pub use error::{
    BlockingError, ConnectionError, Error, ListenError, Result, RouteError, SendError,
};
pub use handle::{Handle, Untyped};
pub use holder::{Holder, holder};
pub use listener::{DEFAULT_BACKLOG, Listener};
pub use pool::Mailbox;
pub use process::Process;
pub use route::{
    Count, Hive, Member, Members, Names, Outcome, Presence, Session, Totals, router_program,
};
pub use running::Running;
pub use seat::{Hosting, Inherited, Place, Program, Seat};
pub use steer::{steer, unsteer};
pub use timer::TimerId;
pub use uid::Uid;
pub use workhive_ipc::route::{ConnectionId, ConnectionIdError};

//! The clients: WebSocket connections that say who they are, and get what is pushed to them.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use workhive_protocols::{Handshake, Message, Verdict, WebSocket};
use workhive_worker::{Conn, Result, TimerId, Uid};

use super::jwt::{Claims, Flaw};
use super::options::{Auth, Options};
use super::peers;
use super::replies::Replies;
use super::server::State;
use super::token::bearer;
use crate::Worker;

/// WebSocket close code for messages that break the application's rules (RFC 6455 section 7.4.1).
const POLICY: u16 = 1008;

/// Close code for a client whose token is not good any more; 4001 says that another connection has taken over.
const EXPIRED: u16 = 4003;

/// A token that is good for longer than this never expires.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 10);

/// A connection, in its callbacks.
pub(super) type Client<'a> = Conn<'a, WebSocket, State, Session>;

/// What is known of a client beside its uid.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What the token in its handshake was, until the handshake is over.
    shown: Option<Result<Claims, Flaw>>,
    /// It has said who it is.
    known: bool,
    /// When it has to go: if it does not say who it is, and later when its token expires.
    timer: Option<TimerId>,
    /// What its messages to others are answered with.
    pub(super) replies: Replies,
}

/// The definition of a server's processes, as far as clients are concerned.
pub(super) fn worker(options: &Rc<Options>) -> Worker<WebSocket, State, Session> {
    let worker = Worker::<WebSocket>::new(options.ws.clone())
        .state(|_place| Ok(State::default()))
        .data(Session::default);
    let (at_handshake, connected, at_message) =
        (Rc::clone(options), Rc::clone(options), Rc::clone(options));
    worker
        .on_websocket_connect(move |conn, handshake| {
            if let Auth::Jwt(key) = &at_handshake.auth {
                conn.data_mut().shown = token(&handshake).map(|token| key.check(&token, now()));
            }
            Ok(Verdict::accept())
        })
        .on_websocket_connected(move |conn| on_connected(conn, connected.patience))
        .on_message(move |conn, message| on_message(conn, &message, &at_message))
        .on_close(|conn| {
            set_timer(conn, None);
            Ok(())
        })
}

/// The token in a handshake. Browsers cannot set the header field, so it may be in the URL.
fn token(handshake: &Handshake<'_>) -> Option<String> {
    let header = handshake.header("authorization").and_then(bearer);
    header.map(str::to_owned).or_else(|| {
        let found = handshake.query_pairs().find(|(name, _)| name == "token");
        found.map(|(_, token)| token.into_owned())
    })
}

fn on_connected(conn: &mut Client<'_>, patience: Duration) -> Result {
    if let Some(shown) = conn.data_mut().shown.take() {
        return log_in(conn, shown);
    }
    let client = conn.handle();
    let timer = conn.process().after(patience, move |_| {
        client.close_with(POLICY, "no login in time");
        Ok(())
    })?;
    set_timer(conn, Some(timer));
    Ok(())
}

fn on_message(conn: &mut Client<'_>, message: &Message<'_>, options: &Options) -> Result {
    if conn.data().known {
        return if options.peer_messages {
            peers::on_message(conn, message)
        } else {
            let now = conn.process().now();
            if let Some(times) = conn.state_mut().ignored.note(now) {
                log::warn!(
                    "what clients say after their first message is ignored ({times} since this was last said); \
                     --peer-messages gives it a meaning"
                );
            }
            Ok(())
        };
    }
    match &options.auth {
        Auth::Jwt(key) => {
            let token = message.as_text().unwrap_or_default();
            let checked = key.check(token, now());
            log_in(conn, checked)
        }
        Auth::FirstMessage => match Uid::new(message.as_bytes()) {
            Ok(uid) => welcome(conn, &uid),
            Err(error) => {
                conn.close_with(POLICY, error.to_string());
                Ok(())
            }
        },
    }
}

fn log_in(conn: &mut Client<'_>, checked: Result<Claims, Flaw>) -> Result {
    let claims = match checked {
        Ok(claims) => claims,
        Err(flaw) => {
            // What was wrong is nothing for whoever tries tokens.
            log::debug!("{}: a token was refused: {flaw}", conn.remote_addr());
            conn.close_with(POLICY, "not authorized");
            return Ok(());
        }
    };
    welcome(conn, &claims.uid)?;
    if claims.left < FOR_EVER {
        let client = conn.handle();
        let timer = conn.process().after(claims.left, move |_| {
            client.close_with(EXPIRED, "token expired");
            Ok(())
        })?;
        set_timer(conn, Some(timer));
    }
    Ok(())
}

fn welcome(conn: &mut Client<'_>, uid: &Uid) -> Result {
    set_timer(conn, None);
    conn.data_mut().known = true;
    conn.bind_uid(&**uid)
}

fn set_timer(conn: &mut Client<'_>, timer: Option<TimerId>) {
    if let Some(before) = std::mem::replace(&mut conn.data_mut().timer, timer) {
        conn.process().cancel(before);
    }
}

fn now() -> Duration {
    // A clock before 1970 makes every token one that is not valid yet, or for ever.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

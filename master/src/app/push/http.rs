//! The HTTP port, where programs push and ask. All its answers are JSON.

use std::cell::RefCell;
use std::rc::Rc;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use workhive_protocols::{Http, Method, Request, Response};
use workhive_worker::{Conn, Handle, Listener, Presence, Result, RouteError};

use super::order::{Name, Order, Push, checked, connection, object};
use super::outcome::as_json;
use super::server::State;
use super::token::Token;

/// Most pushes in one batch.
const MAX_BATCH: usize = 1000;

/// Longest body, in bytes: longer than the longest payload, so that one which is too long is refused with a reason.
const MAX_BODY: usize = 16 << 20;

/// The close code where a request names none.
const NORMAL: u16 = 1000;

/// The listener at the HTTP port.
pub(super) fn listener(
    listener: Listener<Http, State>,
    token: Option<Token>,
) -> Listener<Http, State> {
    let listener = listener.configure(|http| http.max_message = MAX_BODY);
    listener.on_message(move |conn, request| {
        let reply = conn.handle();
        match on_request(conn, &request, token.as_ref()) {
            Ok(()) => Ok(()),
            Err(refusal) => reply.send(refusal.response()),
        }
    })
}

/// A request that is answered at once: why it was not done.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    why: String,
    /// A header field for it.
    field: Option<(&'static str, &'static str)>,
}

impl Refusal {
    fn new(status: u16, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
            field: None,
        }
    }

    /// The request makes no sense.
    fn bad(why: impl Into<String>) -> Self {
        Self::new(400, why)
    }

    fn response(self) -> Response {
        let response = json_response(self.status, &json!({ "error": self.why }));
        match self.field {
            Some((name, value)) => response.header(name, value),
            None => response,
        }
    }
}

impl From<RouteError> for Refusal {
    fn from(error: RouteError) -> Self {
        let status = match error {
            RouteError::Full => 503,
            RouteError::TooLong => 413,
            _ => 400,
        };
        Self::new(status, error.to_string())
    }
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::json(format!("{body}\n")).with_status(status)
}

/// What can be asked for.
#[derive(Debug, PartialEq, Eq)]
enum Resource {
    Push,
    Batch,
    Online,
    Connections,
    Close,
    Membership { room: String, joins: bool },
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let found = match (parts.next()?, parts.next(), parts.next()) {
            ("push", None, _) => Self::Push,
            ("batch", None, _) => Self::Batch,
            ("online", None, _) => Self::Online,
            ("connections", None, _) => Self::Connections,
            ("close", None, _) => Self::Close,
            ("rooms", Some(room), Some(what @ ("join" | "leave"))) => Self::Membership {
                room: percent_decode_str(room).decode_utf8().ok()?.into_owned(),
                joins: what == "join",
            },
            _ => return None,
        };
        parts.next().is_none().then_some(found)
    }

    /// The one method that it has.
    fn method(&self) -> Method<'static> {
        match self {
            Self::Online | Self::Connections => Method::Get,
            _ => Method::Post,
        }
    }
}

fn on_request(
    conn: &mut Conn<'_, Http, State>,
    request: &Request<'_>,
    token: Option<&Token>,
) -> std::result::Result<(), Refusal> {
    match token {
        Some(token) if token.is_shown(request.header("authorization")) => {}
        Some(_) => {
            return Err(Refusal {
                field: Some(("www-authenticate", "Bearer")),
                ..Refusal::new(401, "a token is needed: Authorization: Bearer TOKEN")
            });
        }
        None if is_from_a_page(request) => {
            return Err(Refusal::new(
                403,
                "pages of browsers, and names other than localhost, are served only with a token (--token-file)",
            ));
        }
        None => {}
    }
    let resource = Resource::at(request.path())
        .ok_or_else(|| Refusal::new(404, format!("there is nothing at {}", request.path())))?;
    let method = resource.method();
    if request.method() != method {
        let allow = if method == Method::Get { "GET" } else { "POST" };
        return Err(Refusal {
            field: Some(("allow", allow)),
            ..Refusal::new(405, format!("{} goes with {allow}", request.path()))
        });
    }
    match resource {
        Resource::Push => {
            let push = body::<Order>(request)?.understood().map_err(Refusal::bad)?;
            Ok(push.send(answering(conn))?)
        }
        Resource::Batch => batch(conn, request),
        Resource::Online => online(conn, request),
        Resource::Connections => connections(conn, request),
        Resource::Close => close(conn, request),
        Resource::Membership { room, joins } => {
            let Member { uid } = body(request)?;
            checked("uid", &uid.0).map_err(Refusal::bad)?;
            let hive = answering(conn);
            Ok(if joins {
                hive.join_uid(uid.0, room)
            } else {
                hive.leave_uid(uid.0, room)
            }?)
        }
    }
}

/// True for what a browser may send in the name of some page on the Internet: pages can make a browser send requests to
/// programs of its machine, and where those have no token, it must not do. Browsers say whose page it was that sends
/// something; and a page that has made its own name mean this machine still has that name.
fn is_from_a_page(request: &Request<'_>) -> bool {
    let host = request.host().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_machine = name.eq_ignore_ascii_case("localhost")
        || name.is_empty()
        || bare.parse::<std::net::IpAddr>().is_ok();
    request.header("origin").is_some() || !is_machine
}

/// Who joins or leaves a room.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    uid: Name,
}

/// Which connections are closed, and what they are told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    uid: Option<Name>,
    id: Option<String>,
    code: Option<u16>,
    reason: Option<String>,
}

/// The hive, that answers the request with what has become of it.
fn answering(conn: &Conn<'_, Http, State>) -> workhive_worker::Hive {
    let reply = conn.handle();
    conn.hive().on_outcome(move |outcome| {
        // Nobody was asked, nobody has it: it can be sent again.
        let status = if outcome.unrouted { 503 } else { 200 };
        reply.send(json_response(status, &as_json(outcome)))
    })
}

fn body<T: DeserializeOwned>(request: &Request<'_>) -> std::result::Result<T, Refusal> {
    object(request.body()).map_err(|why| Refusal::bad(format!("the body: {why}")))
}

fn close(
    conn: &mut Conn<'_, Http, State>,
    request: &Request<'_>,
) -> std::result::Result<(), Refusal> {
    let Close {
        uid,
        id,
        code,
        reason,
    } = body(request)?;
    let (code, reason) = (code.unwrap_or(NORMAL), reason.unwrap_or_default());
    match (uid, id) {
        (Some(uid), None) => {
            checked("uid", &uid.0).map_err(Refusal::bad)?;
            Ok(answering(conn).close_uid(uid.0, code, &reason)?)
        }
        (None, Some(id)) => {
            let id = connection(&id).map_err(Refusal::bad)?;
            Ok(answering(conn).close_connection(id, code, &reason)?)
        }
        _ => Err(Refusal::bad("one of uid and id says who is closed")),
    }
}

/// The values of a query in which each pair has this name.
fn values(request: &Request<'_>, wanted: &str) -> std::result::Result<Vec<String>, Refusal> {
    let mut values = Vec::new();
    for (name, value) in request.query_pairs() {
        if name != wanted {
            return Err(Refusal::bad(format!("the query has an unknown {name}")));
        }
        checked("uid", &*value).map_err(Refusal::bad)?;
        values.push(value.into_owned());
    }
    if values.is_empty() {
        return Err(Refusal::bad(format!("the query has no {wanted}")));
    }
    Ok(values)
}

fn online(
    conn: &mut Conn<'_, Http, State>,
    request: &Request<'_>,
) -> std::result::Result<(), Refusal> {
    let uids = values(request, "uid")?;
    let reply = conn.handle();
    let asked = uids.clone();
    let hive = conn.hive();
    Ok(hive.are_uids_online(asked, move |presences| {
        let known = uids.into_iter().zip(presences).map(|(uid, presence)| {
            let online = match presence {
                Presence::Online => Value::Bool(true),
                Presence::Offline => Value::Bool(false),
                Presence::Unknown => Value::Null,
            };
            (uid, online)
        });
        reply.send(json_response(
            200,
            &json!({ "online": known.collect::<Map<_, _>>() }),
        ))
    })?)
}

fn connections(
    conn: &mut Conn<'_, Http, State>,
    request: &Request<'_>,
) -> std::result::Result<(), Refusal> {
    let uids = values(request, "uid")?;
    let [uid] = uids.as_slice() else {
        return Err(Refusal::bad("the query has more than one uid"));
    };
    let reply = conn.handle();
    let hive = conn.hive();
    Ok(hive.connections_of_uid(uid, None, move |page| {
        let ids = page.members.iter().map(|member| member.id.to_string());
        let found = json!({
            "connections": ids.collect::<Vec<_>>(),
            "partial": page.partial || page.more,
        });
        reply.send(json_response(200, &found))
    })?)
}

/// The outcomes of a batch, until all are there.
struct Batch {
    outcomes: Vec<Value>,
    left: usize,
    reply: Handle<Http>,
}

impl Batch {
    fn note(&mut self, index: usize, outcome: Value) -> Result {
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = outcome;
            self.left -= 1;
        }
        if self.left > 0 {
            return Ok(());
        }
        let all = std::mem::take(&mut self.outcomes);
        self.reply.send(json_response(200, &Value::Array(all)))
    }
}

fn batch(
    conn: &mut Conn<'_, Http, State>,
    request: &Request<'_>,
) -> std::result::Result<(), Refusal> {
    let orders: Vec<Box<RawValue>> = serde_json::from_slice(request.body())
        .map_err(|error| Refusal::bad(format!("the body is not a list of pushes: {error}")))?;
    if orders.len() > MAX_BATCH {
        return Err(Refusal::bad(format!(
            "a batch has at most {MAX_BATCH} pushes, this one has {}",
            orders.len()
        )));
    }
    // All of them make sense, or none is done.
    let mut pushes: Vec<Push> = Vec::with_capacity(orders.len());
    for (index, order) in orders.into_iter().enumerate() {
        let push = object::<Order>(order.get().as_bytes()).and_then(Order::understood);
        pushes.push(push.map_err(|why| Refusal::bad(format!("push {index}: {why}")))?);
    }
    let reply = conn.handle();
    if pushes.is_empty() {
        // A connection that is gone is the peer's affair.
        let _ = reply.send(json_response(200, &json!([])));
        return Ok(());
    }
    let batch = Rc::new(RefCell::new(Batch {
        outcomes: vec![Value::Null; pushes.len()],
        left: pushes.len(),
        reply,
    }));
    for (index, push) in pushes.into_iter().enumerate() {
        let noted = Rc::clone(&batch);
        let hive = conn
            .hive()
            .on_outcome(move |outcome| noted.borrow_mut().note(index, as_json(outcome)));
        if let Err(error) = push.send(hive) {
            // The same.
            let _ = batch
                .borrow_mut()
                .note(index, json!({ "error": error.to_string() }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_resource_or_nothing() {
        let room = |room: &str, joins| Resource::Membership {
            room: room.to_owned(),
            joins,
        };
        for (path, resource) in [
            ("/push", Some(Resource::Push)),
            ("/online", Some(Resource::Online)),
            ("/rooms/lobby/join", Some(room("lobby", true))),
            ("/rooms/a%2Fb%20+%C3%BC/leave", Some(room("a/b +ü", false))),
            ("/rooms/%ff/join", None),
            ("/rooms/lobby", None),
            ("/rooms/lobby/burn", None),
            ("/rooms/lobby/join/", None),
            ("/push/", None),
            ("/Push", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(Resource::at(path), resource, "{path}");
        }
    }

    #[test]
    fn errors_are_the_clients_or_a_matter_of_time() {
        assert_eq!(Refusal::from(RouteError::Full).status, 503);
        assert_eq!(Refusal::from(RouteError::TooLong).status, 413);
        assert_eq!(Refusal::from(RouteError::CloseCode { code: 1 }).status, 400);
    }

    #[test]
    fn a_refusal_is_json() {
        let refusal = Refusal {
            field: Some(("allow", "POST")),
            ..Refusal::new(405, "no \"such\" thing")
        };
        let response = refusal.response();
        assert_eq!(response.code(), 405);
        assert_eq!(
            response.content(),
            b"{\"error\":\"no \\\"such\\\" thing\"}\n"
        );
    }
}

//! The echo server: what benchmarks and foreign test suites are pointed at.

use std::ffi::OsString;

use workhive_protocols::{
    Frame, Http, Message, Method, Protocol, Raw, Request, Response, Text, WebSocket,
};
use workhive_worker::{Conn, Result};

use crate::settings::size;
use crate::{Args, Cli, Exit, Group, UsageError, Worker};

const ABOUT: &str =
    "Answers with what was sent, at SCHEME://ADDR: text, frame, tcp, websocket or http.

http: GET / is answered with \"Hello, World!\", GET /headers with the request's header lines, \
and a request with a body with that body.";

pub(super) fn run(args: impl Iterator<Item = OsString>) -> std::result::Result<Exit, UsageError> {
    // The one argument with a scheme is the address; verb and options may stand on both sides of it.
    let (mut targets, rest): (Vec<_>, Vec<_>) =
        args.partition(|argument| argument.to_string_lossy().contains("://"));
    let cli = Cli::new("workhive echo")
        .about(ABOUT)
        .option(
            "max-message",
            "SIZE",
            "10M",
            "Largest message, in bytes or with K, M or G behind it",
        )
        .flag(
            "reuse-port",
            "Let every process have a listening socket of its own",
        );
    let args = super::parse(cli, "workhive echo", rest.into_iter())?;
    let target = match (targets.pop(), targets.pop()) {
        (Some(target), None) => target,
        (None, _) => {
            return Err(UsageError::new(
                "the address is missing: workhive echo SCHEME://ADDR, for example http://127.0.0.1:8080",
            ));
        }
        (Some(one), Some(other)) => {
            return Err(UsageError::new(format!(
                "one address is served, not two: {} and {}",
                other.display(),
                one.display()
            )));
        }
    };
    let target = target.to_string_lossy().into_owned();
    let max = size(args.value("max-message"))
        .map_err(|why| UsageError::new(format!("--max-message {why}")))?;
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let group = group(&target, max, &args)?;
    Ok(args.run_all([group]))
}

fn group(target: &str, max: usize, args: &Args) -> std::result::Result<Group, UsageError> {
    let (scheme, address) = target.split_once("://").unwrap_or(("", target));
    Ok(match scheme {
        "text" => plain::<Text>(address, max, args)
            .configure(|text| text.max_message = max)
            .into(),
        "frame" => plain::<Frame>(address, max, args)
            .configure(|frame| frame.max_message = max)
            .into(),
        "tcp" => plain::<Raw>(address, max, args).into(),
        "websocket" | "ws" => plain::<WebSocket>(address, max, args)
            .configure(|websocket| websocket.max_message = max)
            .into(),
        "http" => common::<Http>(address, max, args)
            .configure(|http| http.max_message = max)
            .on_message(on_request)
            .into(),
        other => {
            return Err(UsageError::new(format!(
                "\"{other}\" is no scheme: choose text, frame, tcp, websocket or http"
            )));
        }
    })
}

fn common<P: Protocol>(address: &str, max: usize, args: &Args) -> Worker<P> {
    // A Unix socket's path comes with its slashes: echo text://unix:/run/echo.sock
    Worker::<P>::new(address)
        .name("echo")
        .reuse_port(args.flag("reuse-port"))
        // Room for one answer that leaves while the next one is made.
        .max_send_buffer(max.saturating_mul(2).max(1 << 20))
}

/// A protocol whose messages are payloads: they go back as they came.
fn plain<P>(address: &str, max: usize, args: &Args) -> Worker<P>
where
    P: for<'m> Protocol<Message<'m> = Message<'m>, Outgoing<'m> = Message<'m>>,
{
    common::<P>(address, max, args).on_message(|conn, message| conn.send(message))
}

fn on_request(conn: &mut Conn<'_, Http>, request: Request<'_>) -> Result {
    if !request.body().is_empty() {
        let kind = request
            .header("content-type")
            .unwrap_or("application/octet-stream")
            .to_owned();
        return conn.send(Response::bytes(kind, request.into_body()));
    }
    match (request.method(), request.path()) {
        (Method::Get | Method::Head, "/") => conn.send(Response::text("Hello, World!")),
        (Method::Get, "/headers") => {
            let mut lines = String::new();
            for (name, value) in request.headers() {
                lines.push_str(name);
                lines.push_str(": ");
                lines.push_str(&String::from_utf8_lossy(value));
                lines.push('\n');
            }
            conn.send(Response::text(lines))
        }
        _ => conn.send(Response::status(404)),
    }
}

//! Answers, deadlines and goodbyes of HTTP. What becomes of requests is in the corpus.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use workhive_protocols::{
    Answer, Blame, Chunk, EncodeError, Event, Flow, Goodbye, Http, HttpConfig, HttpDate,
    HttpDecoder, HttpEncoder, Lines, Message, Protocol, ProtocolError, Reply, Response, Wire,
    http_date,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_1_0: &str = "GET / HTTP/1.0\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n";
const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

/// A connection with its time and its output in hand.
struct Connection {
    decoder: HttpDecoder,
    encoder: HttpEncoder,
    start: Instant,
    now: Instant,
    date: HttpDate,
    out: Vec<u8>,
    flow: Flow,
}

impl Connection {
    fn new() -> Self {
        let now = Instant::now();
        let (decoder, encoder) = Http::open(&Rc::new(HttpConfig::default()), now);
        Self {
            decoder,
            encoder,
            start: now,
            now,
            date: http_date(SystemTime::UNIX_EPOCH),
            out: Vec::new(),
            flow: Flow::Open,
        }
    }

    fn after(request: &str) -> Self {
        let mut connection = Self::new();
        assert_eq!(connection.feed(request), Ok("message"));
        connection
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut HttpDecoder, &mut HttpEncoder, &mut Wire<'_>) -> T,
    ) -> T {
        let mut wire = Wire::new(&mut self.out, self.now, &self.date);
        wire.flow = self.flow;
        let result = act(&mut self.decoder, &mut self.encoder, &mut wire);
        self.flow = wire.flow;
        result
    }

    /// Feeds bytes of which none are kept; what the last step was.
    fn feed(&mut self, text: &str) -> Result<&'static str, ProtocolError> {
        let mut input = text.as_bytes().to_vec();
        self.with(|decoder, encoder, wire| {
            loop {
                let step = Http::decode(decoder, encoder, &mut input, wire)?;
                let name = match step.event {
                    Event::Partial => "partial",
                    Event::Progress => "progress",
                    Event::Message(_) => "message",
                    Event::Wait => "wait",
                    Event::Finished => "finished",
                    Event::Opening(never) => match never {},
                };
                let consumed = step.consumed;
                input.drain(..consumed);
                if name != "progress" {
                    return Ok(name);
                }
            }
        })
    }

    fn send<'a>(&mut self, reply: impl Into<Reply<'a>>) -> Result<(), EncodeError> {
        self.with(|_, encoder, wire| Http::encode(encoder, reply.into(), wire))
    }

    fn goodbye(&mut self, goodbye: &Goodbye) -> String {
        self.with(|_, encoder, wire| Http::goodbye(encoder, goodbye, wire));
        self.take()
    }

    fn deadline(&self) -> Option<Duration> {
        Http::deadline(&self.decoder, &self.encoder).map(|deadline| deadline - self.start)
    }

    fn expire_at(&mut self, seconds: u64) -> Result<(), ProtocolError> {
        self.now = self.start + Duration::from_secs(seconds);
        self.with(Http::expired)
    }

    fn take(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).expect("our output is text")
    }
}

fn answer<'a>(request: &str, reply: impl Into<Reply<'a>>) -> (String, Flow) {
    let mut connection = Connection::after(request);
    connection.send(reply).expect("it is owed");
    (connection.take(), connection.flow)
}

#[test]
fn a_response_is_written_to_the_byte() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n{DATE}Content-Length: 5\r\n\r\n"
    );
    assert_eq!(
        answer(GET, Response::text("hello")),
        (format!("{head}hello"), Flow::Open)
    );
    assert_eq!(answer(HEAD, Response::text("hello")), (head, Flow::Open));
}

#[test]
fn bare_text_is_html_and_bare_bytes_are_octets() {
    let (text, _) = answer(GET, "<p>hi</p>");
    assert!(text.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(text.ends_with("\r\nContent-Length: 9\r\n\r\n<p>hi</p>"));
    let (bytes, _) = answer(GET, vec![b'a']);
    assert!(bytes.contains("\r\nContent-Type: application/octet-stream\r\n"));
    assert!(bytes.ends_with("\r\n\r\na"));
}

#[test]
fn status_codes_come_with_their_words_and_only_where_allowed_with_a_body() {
    let (text, _) = answer(GET, Response::status(405));
    assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
    assert!(text.ends_with("\r\n\r\nMethod Not Allowed"));
    for status in [204, 304] {
        let (text, _) = answer(GET, Response::text("no").with_status(status));
        assert!(
            !text.contains("Content-Length") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
    }
    let (text, _) = answer(GET, Response::text("no").with_status(205));
    assert!(text.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{text}");
    let (text, _) = answer(GET, Response::new(299));
    assert!(text.starts_with("HTTP/1.1 299 \r\n"), "{text}");
}

#[test]
fn header_fields_are_sent_in_order_and_may_repeat() {
    let response = Response::new(200)
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2");
    let (text, _) = answer(GET, response);
    assert!(
        text.contains("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
        "{text}"
    );
}

#[test]
fn a_header_cannot_break_out_of_its_line() {
    let broken = [
        Response::new(200).header("x", "a\r\nSet-Cookie: b"),
        Response::new(200).header("x\r\ny", "a"),
        Response::new(200).header("x", "a\nb"),
        Response::new(200).header("x", "a\0b"),
        Response::new(200).header("x y", "a"),
        Response::new(200).header("", "a"),
        Response::new(200).content_type("text/html\r\nX: y"),
        Response::new(200).header("Transfer-Encoding", "chunked"),
        Response::new(200).header("Content-Length", "7"),
        Response::new(200).header("Connection", "upgrade"),
        Response::new(99),
        Response::new(600),
        Response::new(101),
    ];
    for response in broken {
        let mut connection = Connection::after(GET);
        let error = connection.send(response.clone());
        assert!(
            matches!(error, Err(EncodeError::Misuse { .. })),
            "{response:?}"
        );
        assert_eq!(connection.take(), "", "nothing was sent");
        connection
            .send("still possible")
            .expect("the answer is still owed");
    }
}

#[test]
fn fields_of_ours_are_accepted_where_they_say_what_is_true() {
    let (text, flow) = answer(
        GET,
        Response::text("hi")
            .header("content-length", "2")
            .header("Connection", "Close")
            .header("Date", "today"),
    );
    assert_eq!(text.matches("ontent-").count(), 2, "{text}");
    assert!(text.contains("\r\nConnection: close\r\n") && text.contains("\r\nDate: today\r\n"));
    assert_eq!(text.matches("Date").count(), 1, "{text}");
    assert_eq!(flow, Flow::End);
    let (text, _) = answer(HEAD, Response::new(200).header("Content-Length", "12345"));
    assert!(
        text.ends_with("\r\nContent-Length: 12345\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn one_request_has_one_answer() {
    let misuse = |result| matches!(result, Err(EncodeError::Misuse { .. }));
    let mut connection = Connection::new();
    assert!(misuse(connection.send("too early")));
    assert_eq!(connection.feed(GET), Ok("message"));
    assert!(misuse(connection.send(Chunk::from("no stream"))));
    connection.send("ok").expect("it is owed");
    assert!(misuse(connection.send("twice")));
}

#[test]
fn a_pipeline_waits_for_each_answer() {
    let mut connection = Connection::after(GET);
    assert_eq!(connection.feed(GET), Ok("wait"));
    connection.send("ok").expect("it is owed");
    assert_eq!(connection.feed(GET), Ok("message"));
}

#[test]
fn http_1_0_is_told_what_becomes_of_the_connection() {
    let (text, flow) = answer(GET_1_0, "x");
    assert!(text.contains("\r\nConnection: close\r\n"));
    assert_eq!(flow, Flow::End);
    let (text, flow) = answer("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "x");
    assert!(text.contains("\r\nConnection: keep-alive\r\n"));
    assert_eq!(flow, Flow::Open);
}

#[test]
fn lines_of_fields_make_the_response_that_the_fields_make_one_by_one() {
    let text = "X-Shelf:  7 \r\nSet-Cookie: a=1\nSet-Cookie: b=2; c";
    for request in [GET, HEAD, GET_1_0] {
        let (mut one, mut other) = (Connection::after(request), Connection::after(request));
        let fields = Response::new(201)
            .header("X-Shelf", "7")
            .header("Set-Cookie", "a=1")
            .header("Set-Cookie", "b=2; c");
        one.send(fields.body("88%")).expect("owed");
        other.send(Lines::new(201, text, b"88%")).expect("owed");
        assert_eq!((one.take(), one.flow), (other.take(), other.flow));
    }
    let mut streamed = Connection::after(GET);
    let head = Lines::new(200, "Connection: close\n", b"a").stream();
    streamed.send(head).expect("owed");
    let head = streamed.take();
    assert!(
        head.ends_with("Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
        "{head}"
    );
}

#[test]
fn lines_that_are_no_fields_are_refused_and_nothing_is_written() {
    for text in [
        "no colon",
        "a: 1\n\nb: 2",
        ": no name",
        "a b: 1",
        "a: 1\rb: 2",
        "a: \0",
        "Transfer-Encoding: chunked",
        "Content-Length: 9",
        "Connection: upgrade",
    ] {
        let mut connection = Connection::after(GET);
        let refused = connection.send(Lines::new(200, text, b"x"));
        assert!(
            matches!(refused, Err(EncodeError::Misuse { .. })),
            "{text:?}"
        );
        assert_eq!(connection.take(), "", "{text:?}");
        connection.send("still owed").expect("nothing was answered");
    }
}

#[test]
fn a_stream_is_chunked_and_ends_with_its_last_chunk() {
    let mut connection = Connection::after(GET);
    connection.send(Response::text("a").stream()).expect("owed");
    let head = connection.take();
    assert!(
        head.ends_with("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
        "{head}"
    );
    assert!(!head.contains("Content-Length"));
    connection.send(Chunk::from("")).expect("it has no effect");
    connection
        .send(Chunk::from("0123456789abcdef"))
        .expect("it streams");
    assert_eq!(connection.take(), "10\r\n0123456789abcdef\r\n");
    assert_eq!(connection.feed(GET), Ok("wait"));
    assert!(connection.send("no").is_err());
    connection.with(|_, encoder, wire| {
        Http::push(encoder, Message::from("pushed"), wire).expect("it streams");
    });
    assert_eq!(connection.take(), "6\r\npushed\r\n");
    connection
        .send(Chunk::from("z").and_last())
        .expect("it streams");
    assert_eq!(connection.take(), "1\r\nz\r\n0\r\n\r\n");
    assert!(connection.send(Chunk::last()).is_err());
    assert_eq!(
        (connection.feed(GET), connection.flow),
        (Ok("message"), Flow::Open)
    );
}

#[test]
fn a_stream_to_http_1_0_ends_with_the_connection() {
    let mut connection = Connection::after("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    connection.send(Response::new(200).stream()).expect("owed");
    let head = connection.take();
    assert!(
        head.ends_with("Connection: close\r\n\r\n") && !head.contains("Transfer"),
        "{head}"
    );
    connection.send(Chunk::from("bare")).expect("it streams");
    connection.send(Chunk::last()).expect("it streams");
    assert_eq!(
        (connection.take().as_str(), connection.flow),
        ("bare", Flow::End)
    );
}

#[test]
fn a_stream_to_head_sends_no_chunk() {
    let mut connection = Connection::after(HEAD);
    connection.send(Response::text("a").stream()).expect("owed");
    assert!(
        connection
            .take()
            .ends_with("Transfer-Encoding: chunked\r\n\r\n")
    );
    connection.send(Chunk::from("a")).expect("it streams");
    connection.send(Chunk::last()).expect("it streams");
    assert_eq!(
        (connection.take().as_str(), connection.flow),
        ("", Flow::Open)
    );
}

#[test]
fn early_hints_come_before_the_answer() {
    let mut connection = Connection::after(GET);
    connection
        .send(Response::new(103).header("Link", "</a.css>"))
        .expect("it is owed");
    assert_eq!(
        connection.take(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    );
    connection.send("ok").expect("it is still owed");
}

#[test]
fn goodbye_answers_what_is_owed() {
    let mut failed = Connection::after(GET);
    let text = failed.goodbye(&Goodbye::Failure);
    assert!(
        text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{text}"
    );
    assert!(text.contains("\r\nConnection: close\r\n"));
    assert_eq!(failed.flow, Flow::End);
    assert_eq!(failed.send("late"), Err(EncodeError::NotOpen));
    assert_eq!(failed.feed(GET), Ok("finished"));

    let text = Connection::after(GET).goodbye(&Goodbye::Restart);
    assert!(
        text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{text}"
    );
    assert!(
        !Connection::after(HEAD)
            .goodbye(&Goodbye::Restart)
            .ends_with("able\n")
    );
    assert_eq!(Connection::after(GET).goodbye(&Goodbye::Normal), "");
    assert_eq!(Connection::new().goodbye(&Goodbye::Failure), "");
}

#[test]
fn a_stream_that_fails_is_seen_to_be_cut_off() {
    let mut connection = Connection::after(GET);
    connection.send(Response::new(200).stream()).expect("owed");
    connection.take();
    assert_eq!(connection.goodbye(&Goodbye::Failure), "");
    assert_eq!(connection.flow, Flow::Close);
}

#[test]
fn while_draining_every_answer_ends_its_connection() {
    let mut connection = Connection::new();
    Http::drain(&mut connection.encoder);
    assert_eq!(connection.feed(GET), Ok("message"));
    connection.send("ok").expect("it is owed");
    assert!(connection.take().contains("\r\nConnection: close\r\n"));
    assert_eq!(
        (connection.feed(GET), connection.flow),
        (Ok("finished"), Flow::End)
    );

    let mut streaming = Connection::after(GET);
    streaming.send(Response::new(200).stream()).expect("owed");
    Http::drain(&mut streaming.encoder);
    streaming.send(Chunk::last()).expect("it streams");
    assert_eq!(streaming.flow, Flow::End);
}

#[test]
fn an_idle_connection_ends_silently_and_a_slow_request_with_408() {
    let mut idle = Connection::new();
    assert_eq!(idle.deadline(), Some(Duration::from_secs(75)));
    assert_eq!((idle.expire_at(74), idle.flow), (Ok(()), Flow::Open));
    assert_eq!((idle.expire_at(75), idle.flow), (Ok(()), Flow::End));
    assert_eq!(idle.take(), "");

    let requests = [
        "GET / HT",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na",
    ];
    for (request, seconds) in requests.into_iter().zip([10, 60]) {
        let mut slow = Connection::new();
        assert_eq!(slow.feed(request), Ok("partial"));
        assert_eq!(slow.deadline(), Some(Duration::from_secs(seconds)));
        assert_eq!(slow.expire_at(seconds - 1), Ok(()));
        let error = slow.expire_at(seconds).expect_err("it is too late");
        assert_eq!(
            (error.blame, error.answer),
            (Blame::Time, Answer::Status(408))
        );
        assert!(slow.take().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert_eq!(slow.flow, Flow::End);
    }
}

#[test]
fn a_body_may_take_its_time_as_long_as_it_comes() {
    let mut slow = Connection::new();
    assert_eq!(
        slow.feed("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
        Ok("partial")
    );
    for minute in 1..=8 {
        slow.now = slow.start + Duration::from_secs(50 * minute);
        assert_eq!(slow.feed("a"), Ok("partial"));
        assert_eq!(slow.deadline(), Some(Duration::from_secs(50 * minute + 60)));
    }
    assert_eq!(slow.feed("a"), Ok("message"));
}

#[test]
fn the_application_has_all_the_time_it_wants() {
    let mut connection = Connection::after(GET);
    assert_eq!(connection.deadline(), None);
    assert!(!Http::is_idle(&connection.decoder, &connection.encoder));
    connection.now += Duration::from_secs(100);
    connection.send("ok").expect("it is owed");
    assert!(Http::is_idle(&connection.decoder, &connection.encoder));
    assert_eq!(connection.deadline(), Some(Duration::from_secs(175)));
}

#[test]
fn a_peer_that_did_not_wait_gets_no_100() {
    let head = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut patient = Connection::new();
    assert_eq!(patient.feed(head), Ok("partial"));
    assert_eq!(patient.take(), "HTTP/1.1 100 Continue\r\n\r\n");
    let mut hasty = Connection::new();
    assert_eq!(hasty.feed(&format!("{head}a")), Ok("partial"));
    assert_eq!(hasty.take(), "");
}

#[test]
fn an_empty_line_behind_a_body_leaves_the_connection_idle() {
    let mut connection = Connection::after(GET);
    connection.send("ok").expect("it is owed");
    assert_eq!(connection.feed("\r\n"), Ok("partial"));
    assert_eq!(connection.deadline(), Some(Duration::from_secs(75)));
    assert_eq!(connection.feed(GET), Ok("message"));
}

#[test]
fn dates_that_cannot_be_written_are_the_first_that_can() {
    let first = http_date(SystemTime::UNIX_EPOCH);
    let year_10000 = Duration::from_hours(70_389_528);
    assert_eq!(
        http_date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
        first
    );
    assert_eq!(http_date(SystemTime::UNIX_EPOCH + year_10000), first);
    let last = http_date(SystemTime::UNIX_EPOCH + year_10000 - Duration::from_secs(1));
    assert_eq!(&last, b"Fri, 31 Dec 9999 23:59:59 GMT");
}

/// The decoded pairs of the query in `target`.
fn query_pairs(target: &str) -> Vec<(String, String)> {
    let mut input = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    Connection::new().with(|decoder, encoder, wire| {
        let step = Http::decode(decoder, encoder, &mut input, wire).expect("a fine request");
        let Event::Message(request) = step.event else {
            panic!("it is complete");
        };
        let pairs = request.query_pairs();
        pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    })
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn a_query_is_decoded_pair_by_pair() {
    assert_eq!(query_pairs("/"), []);
    assert_eq!(query_pairs("/?"), []);
    assert_eq!(
        query_pairs("/?name=J%C3%BCrgen+M%20A&b=1&b=2&&c&=d&e=f=g"),
        pairs([
            ("name", "Jürgen M A"),
            ("b", "1"),
            ("b", "2"),
            ("c", ""),
            ("", "d"),
            ("e", "f=g"),
        ])
    );
    // Decoded after it is cut, so that a value may hold what separates.
    assert_eq!(
        query_pairs("/?a%26b=%3D%26&c%00=%2b"),
        pairs([("a&b", "=&"), ("c\0", "+")])
    );
}

#[test]
fn a_query_that_cannot_be_decoded_is_not_lost() {
    assert_eq!(
        query_pairs("/?a=100%&b=%zz&c=%4&d=%"),
        pairs([("a", "100%"), ("b", "%zz"), ("c", "%4"), ("d", "%")])
    );
    assert_eq!(
        query_pairs("/?a=%ff&%c3=%c3%28"),
        pairs([("a", "\u{fffd}"), ("\u{fffd}", "\u{fffd}(")])
    );
}

#[test]
fn bytes_of_any_kind_can_be_sent() {
    assert!(answer(GET, b"\x01\x02").0.ends_with("\r\n\r\n\x01\x02"));
    assert!(answer(GET, vec![1, 2]).0.ends_with("\r\n\r\n\x01\x02"));
    let mut connection = Connection::after(GET);
    connection
        .send(Response::new(200).body(b"a").stream())
        .expect("it is owed");
    connection.take();
    connection.send(Chunk::from(b"bc")).expect("a stream");
    let piece = Vec::from(b"d");
    connection.send(Chunk::from(&piece)).expect("a stream");
    assert_eq!(connection.take(), "2\r\nbc\r\n1\r\nd\r\n");
}

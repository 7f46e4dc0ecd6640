//! What connections cost in memory, counted at the allocator. One test function: the counters are of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use workhive_protocols::{
    Event, Http, HttpConfig, Protocol, ProtocolError, Response, Step, Verdict, WebSocket,
    WebSocketConfig, Wire, http_date,
};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        TOTAL.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises about the layout are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A connection that is fed and answered; the messages' lengths are all that is kept.
struct Connection<P: Protocol> {
    decoder: P::Decoder,
    encoder: P::Encoder,
    now: Instant,
    out: Vec<u8>,
}

trait Driven: Protocol {
    fn message_len(message: &Self::Message<'_>) -> usize;
    fn react(encoder: &mut Self::Encoder, opening: bool, wire: &mut Wire<'_>);
}

impl Driven for Http {
    fn message_len(message: &Self::Message<'_>) -> usize {
        message.body().len()
    }

    fn react(encoder: &mut Self::Encoder, _opening: bool, wire: &mut Wire<'_>) {
        Self::encode(encoder, Response::text("ok").into(), wire).expect("it is owed");
    }
}

impl Driven for WebSocket {
    fn message_len(message: &Self::Message<'_>) -> usize {
        message.len()
    }

    fn react(encoder: &mut Self::Encoder, opening: bool, wire: &mut Wire<'_>) {
        if opening {
            Self::answer(encoder, Verdict::accept(), wire).expect("it is owed");
        }
    }
}

impl<P: Driven> Connection<P> {
    fn new(config: &Rc<P::Config>) -> Self {
        let now = Instant::now();
        let (decoder, encoder) = P::open(config, now);
        Self {
            decoder,
            encoder,
            now,
            out: Vec::with_capacity(4096),
        }
    }

    /// Feeds bytes that end with a whole unit; the length of the last message.
    fn feed(&mut self, mut input: &mut [u8]) -> Result<Option<usize>, ProtocolError> {
        let date = http_date(SystemTime::UNIX_EPOCH);
        let mut out = mem::take(&mut self.out);
        out.clear();
        let mut wire = Wire::new(&mut out, self.now, &date);
        let mut last = None;
        let result = loop {
            let (consumed, next) = match self.step(input, &mut wire, &mut last) {
                Ok(step) => step,
                Err(error) => break Err(error),
            };
            match next {
                Next::Stop => break Ok(last),
                Next::React(opening) => P::react(&mut self.encoder, opening, &mut wire),
                Next::Step => {}
            }
            input = input.get_mut(consumed..).expect("not more than there was");
        };
        self.out = out;
        result
    }

    fn step(
        &mut self,
        input: &mut [u8],
        wire: &mut Wire<'_>,
        last: &mut Option<usize>,
    ) -> Result<(usize, Next), ProtocolError> {
        let Step { consumed, event } =
            P::decode(&mut self.decoder, &mut self.encoder, input, wire)?;
        let next = match event {
            Event::Message(message) => {
                *last = Some(P::message_len(&message));
                Next::React(false)
            }
            Event::Opening(_) => Next::React(true),
            Event::Progress => Next::Step,
            Event::Partial | Event::Wait | Event::Finished => Next::Stop,
        };
        Ok((consumed, next))
    }
}

enum Next {
    Step,
    React(bool),
    Stop,
}

fn live_after(act: impl FnOnce()) -> usize {
    let before = LIVE.load(Relaxed);
    act();
    LIVE.load(Relaxed).saturating_sub(before)
}

fn total_of(act: impl FnOnce()) -> usize {
    let before = TOTAL.load(Relaxed);
    act();
    TOTAL.load(Relaxed) - before
}

fn upgrade() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec()
}

fn frame(first: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![first, 0xff];
    frame.extend((len as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(14 + len, 0);
    frame
}

fn open_websocket(config: &Rc<WebSocketConfig>) -> Connection<WebSocket> {
    let mut connection = Connection::<WebSocket>::new(config);
    let mut head = upgrade();
    assert_eq!(connection.feed(&mut head), Ok(None));
    connection
}

#[test]
fn connections_take_memory_for_what_has_come_and_nothing_while_idle() {
    http_requests_need_no_heap();
    declared_sizes_are_not_believed();
    idle_connections_hold_nothing();
    many_pieces_are_linear();
    many_fragments_are_linear();
    many_chunks_are_linear();
}

fn http_requests_need_no_heap() {
    let mut connection = Connection::<Http>::new(&Rc::new(HttpConfig::default()));
    let mut request =
        b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n".to_vec();
    // The first one may size the output buffer.
    assert_eq!(connection.feed(&mut request), Ok(Some(0)));
    let total = total_of(|| {
        for _ in 0..100 {
            assert_eq!(connection.feed(&mut request), Ok(Some(0)));
        }
    });
    // What is counted is the date's text, which a loop makes once a second.
    assert!(total <= 100 * 64, "{total} bytes for 100 requests");
}

fn declared_sizes_are_not_believed() {
    let config = Rc::new(WebSocketConfig::default());
    let mut connection = open_websocket(&config);
    let mut start = frame(0x82, 10_000_000);
    let live = live_after(|| assert_eq!(connection.feed(&mut start[..20]), Ok(None)));
    assert!(live < 100_000, "{live} bytes");

    let mut connection = Connection::<Http>::new(&Rc::new(HttpConfig::default()));
    let live = live_after(|| {
        let mut start = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\na".to_vec();
        assert_eq!(connection.feed(&mut start), Ok(None));
    });
    assert!(live < 100_000, "{live} bytes");
}

fn idle_connections_hold_nothing() {
    let config = Rc::new(WebSocketConfig::default());
    let mut connection = open_websocket(&config);
    let mut message = frame(0x82, 1_000_000);
    let mut masked = frame(0x81, 70_000);
    let live = live_after(|| {
        // Whole, and in two pieces.
        assert_eq!(connection.feed(&mut message), Ok(Some(1_000_000)));
        assert_eq!(connection.feed(&mut message[..500_000]), Ok(None));
        assert_eq!(
            connection.feed(&mut message[500_000..]),
            Ok(Some(1_000_000))
        );
        assert_eq!(connection.feed(&mut masked[..9_000]), Ok(None));
        assert_eq!(connection.feed(&mut masked[9_000..]), Ok(Some(70_000)));
    });
    assert_eq!(live, 0);

    let mut connection = Connection::<Http>::new(&Rc::new(HttpConfig::default()));
    let mut request = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n".to_vec();
    request.resize(request.len() + 500_000, b'a');
    let live = live_after(|| {
        assert_eq!(connection.feed(&mut request[..100_000]), Ok(None));
        assert_eq!(connection.feed(&mut request[100_000..]), Ok(Some(500_000)));
    });
    assert_eq!(live, 0);
}

/// Time is not measured here, but what is quadratic in time is so in bytes allocated.
fn many_pieces_are_linear() {
    const LEN: usize = 8_000_000;
    const PIECE: usize = 1000;
    let dates = LEN / PIECE * 64;
    let mut websocket = open_websocket(&Rc::new(WebSocketConfig::default()));
    let mut message = frame(0x82, LEN);
    let total = total_of(|| feed_pieces(&mut websocket, &mut message, PIECE, LEN));
    assert!(total < 4 * LEN + dates, "{total} bytes");

    let mut http = Connection::<Http>::new(&Rc::new(HttpConfig::default()));
    let mut request =
        format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {LEN}\r\n\r\n").into_bytes();
    request.resize(request.len() + LEN, b'a');
    let total = total_of(|| feed_pieces(&mut http, &mut request, PIECE, LEN));
    assert!(total < 4 * LEN + dates, "{total} bytes");
}

fn feed_pieces<P: Driven>(
    connection: &mut Connection<P>,
    input: &mut [u8],
    piece: usize,
    len: usize,
) {
    let mut last = None;
    for piece in input.chunks_mut(piece) {
        last = connection.feed(piece).expect("it is correct");
    }
    assert_eq!(last, Some(len));
}

fn many_fragments_are_linear() {
    const FRAGMENTS: usize = 65_536;
    const EACH: usize = 1024;
    let config = Rc::new(WebSocketConfig {
        max_message: FRAGMENTS * EACH,
        ..WebSocketConfig::default()
    });
    let mut connection = open_websocket(&config);
    let mut first = small_frame(0x02, EACH);
    let mut middle = small_frame(0x00, EACH);
    let mut last = small_frame(0x80, EACH);
    let total = total_of(|| {
        assert_eq!(connection.feed(&mut first), Ok(None));
        for _ in 2..FRAGMENTS {
            let (head, tail) = middle.split_at_mut(EACH / 2);
            assert_eq!(connection.feed(head), Ok(None));
            assert_eq!(connection.feed(tail), Ok(None));
        }
        assert_eq!(connection.feed(&mut last), Ok(Some(FRAGMENTS * EACH)));
    });
    let dates = FRAGMENTS * 2 * 64;
    assert!(total < 5 * FRAGMENTS * EACH + dates, "{total} bytes");
}

fn small_frame(first: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![first, 0xfe];
    frame.extend(u16::try_from(len).expect("it is small").to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(8 + len, 0);
    frame
}

fn many_chunks_are_linear() {
    const CHUNKS: usize = 500_000;
    let mut connection = Connection::<Http>::new(&Rc::new(HttpConfig::default()));
    let mut request = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    request.extend(b"1\r\na\r\n".repeat(CHUNKS));
    request.extend(b"0\r\n\r\n");
    let total = total_of(|| assert_eq!(connection.feed(&mut request), Ok(Some(CHUNKS))));
    assert!(total < 4 * CHUNKS, "{total} bytes");
}

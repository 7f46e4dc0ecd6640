//! A codec of a user's own that panics loses its connection, wherever it panics, and nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use workhive_ipc::route::Process;
use workhive_ipc::{StatsPage, pair};
use workhive_protocols::{
    EncodeError, Event, Message, NoOpening, Protocol, ProtocolError, Step, Wire,
};
use workhive_worker::{Address, Definition, Inherited, Place, Seat, bind};

/// Every byte is a message. It panics when something is pushed, and when the process drains.
struct Panics;

impl Protocol for Panics {
    const NAME: &'static str = "panics";
    type Config = ();
    type Decoder = ();
    type Encoder = ();
    type Message<'a> = u8;
    type Outgoing<'a> = u8;
    type Opening<'a> = NoOpening;
    type Verdict = ();

    fn open(_config: &Rc<()>, _now: Instant) -> ((), ()) {
        ((), ())
    }

    fn decode<'a>(
        (): &'a mut (),
        (): &mut (),
        input: &'a mut [u8],
        _wire: &mut Wire<'_>,
    ) -> Result<Step<u8, NoOpening>, ProtocolError> {
        Ok(match input.first() {
            Some(byte) => Step::new(1, Event::Message(*byte)),
            None => Step::new(0, Event::Partial),
        })
    }

    fn encode((): &mut (), byte: u8, wire: &mut Wire<'_>) -> Result<(), EncodeError> {
        wire.out.push(byte);
        Ok(())
    }

    fn push((): &mut (), _: Message<'_>, _: &mut Wire<'_>) -> Result<(), EncodeError> {
        panic!("in push");
    }

    fn drain((): &mut ()) {
        panic!("in drain");
    }
}

fn ask(client: &mut TcpStream, byte: u8) -> Option<u8> {
    client.write_all(&[byte]).ok()?;
    let mut answer = [0];
    client.read_exact(&mut answer).ok()?;
    Some(answer[0])
}

#[test]
fn only_the_connection_whose_codec_panics_ends() {
    let wildcard: Address = "127.0.0.1:0".parse().expect("an address");
    let socket = bind(&wildcard, false, 16).expect("a free port");
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr().expect("bound");
    let (master, control) = pair().expect("a link");
    let worker = std::thread::spawn(move || {
        let program = Definition::<Panics>::new("127.0.0.1:0")
            .map_listener(|listener| {
                listener.on_message(|conn, byte| match byte {
                    b'b' => {
                        conn.bind_uid("u")?;
                        conn.send(byte)
                    }
                    b'p' => {
                        conn.hive().send_to_uid("u", "boom")?;
                        conn.send(byte)
                    }
                    other => conn.send(other),
                })
            })
            .into_program();
        let page = StatsPage::new(1).expect("a page");
        program.run(Seat {
            place: Place {
                group: "panics".to_owned(),
                slot: 0,
                generation: 0,
                count: 1,
                process: Process {
                    epoch: 1,
                    slot: 0,
                    generation: 0,
                },
                alone: true,
            },
            listener: Some(Inherited {
                socket: listener.into(),
                address: Address::Tcp(address),
                shared: false,
            }),
            control,
            row: page.row(0).expect("the row"),
            drain: Duration::from_secs(10),
            stuck: Duration::from_mins(1),
            clients: None,
        })
    });
    let connect = || {
        let client = TcpStream::connect(address).expect("it listens");
        let limit = Some(Duration::from_secs(20));
        client.set_read_timeout(limit).expect("an open socket");
        client
    };
    let (mut bound, mut other) = (connect(), connect());
    assert_eq!(ask(&mut bound, b'b'), Some(b'b'));
    assert_eq!(ask(&mut other, b'p'), Some(b'p'));
    let mut rest = Vec::new();
    let _ = bound.read_to_end(&mut rest);
    assert!(rest.is_empty(), "the bound connection has ended");
    assert_eq!(ask(&mut other, b'x'), Some(b'x'), "the other one has not");

    // The master dies: the process drains, and its codec panics once more.
    drop(master);
    assert_eq!(worker.join().expect("no panic got out"), 0);
    assert_eq!(ask(&mut other, b'y'), None);
}

//! A protocol of one's own: every message is a length byte and so many bytes.
//!
//! ```sh
//! cargo run --example custom_protocol
//! printf '\005hello' | nc 127.0.0.1 7001
//! ```

use std::{rc::Rc, time::Instant};
use workhive::codec::{EncodeError, Event, NoOpening, ProtocolError, Step, Wire};
use workhive::{Cli, Exit, Message, Protocol, Worker};

/// One byte for the length, then the payload: 0 to 255 bytes.
struct Short;

impl Protocol for Short {
    const NAME: &'static str = "short";
    type Config = ();
    type Decoder = ();
    type Encoder = ();
    type Message<'a> = &'a [u8];
    type Outgoing<'a> = Message<'a>;
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
    ) -> Result<Step<&'a [u8], NoOpening>, ProtocolError> {
        let end = 1 + usize::from(input.first().copied().unwrap_or(0));
        match input.get(1..end) {
            Some(message) if !input.is_empty() => Ok(Step::new(end, Event::Message(message))),
            _ => Ok(Step::new(0, Event::Partial)), // what is not consumed comes again, with more behind it
        }
    }

    fn encode((): &mut (), message: Message<'_>, wire: &mut Wire<'_>) -> Result<(), EncodeError> {
        let len = message.len();
        let length = u8::try_from(len).map_err(|_| EncodeError::TooLong { len, max: 255 })?;
        wire.out.push(length);
        wire.out.extend_from_slice(message.as_bytes());
        Ok(())
    }
}

fn main() -> Exit {
    let cli = Cli::new("custom_protocol").option("addr", "ADDR", "127.0.0.1:7001", "Address");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    args.run_all([Worker::<Short>::new(args.value("addr"))
        .on_message(|conn, bytes| conn.send(bytes.to_ascii_uppercase()))])
}

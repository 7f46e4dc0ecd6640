#![no_main]
//! The envelope between processes and the router: any split of the bytes gives the same frames, and a message that
//! was understood is understood again when it is sent on.

use libfuzzer_sys::fuzz_target;
use workhive_ipc::route::{Decoder, Direction, FrameError, FromRouter, HEADER, ToRouter};

const PAYLOAD: usize = 4096;

type Frames = (Vec<(Vec<u8>, Vec<u8>)>, Result<(), FrameError>);

fn read<'a>(direction: Direction, pieces: impl Iterator<Item = &'a [u8]>) -> Frames {
    let mut decoder = Decoder::new(direction, PAYLOAD);
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push((frame.body.to_vec(), frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (frames, end)
}

fn again(direction: Direction, body: &[u8]) {
    let mut wire = Vec::new();
    match direction {
        Direction::ToRouter => {
            if let Ok(message) = ToRouter::from_body(body) {
                message.append(b"", &mut wire).expect("it came in a frame");
                assert_eq!(ToRouter::from_body(&wire[HEADER..]), Ok(message));
            }
        }
        Direction::FromRouter => {
            if let Ok(message) = FromRouter::from_body(body) {
                message.append(b"", &mut wire).expect("it came in a frame");
                assert_eq!(FromRouter::from_body(&wire[HEADER..]), Ok(message));
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    for direction in [Direction::ToRouter, Direction::FromRouter] {
        let whole = read(direction, std::iter::once(data));
        let split = read(direction, data.chunks(usize::from(*step).max(1)));
        assert_eq!(whole, split);
        for (body, _) in &whole.0 {
            again(direction, body);
        }
        // Bare, to reach the bodies without a header.
        again(direction, data);
    }
});

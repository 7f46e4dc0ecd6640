#![no_main]
//! The router against processes that say anything: it goes on, and what it says itself is always well formed.
//!
//! The input is a list of steps: which link, what, how many bytes, the bytes.

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use workhive_ipc::route::{
    Core, CoreConfig, CoreEvent, Decoder, Direction, FromRouter, LinkId, LinkLimits, Process,
    ToRouter,
};

const LINKS: usize = 4;

fn process(number: u8) -> Process {
    Process {
        epoch: 1,
        slot: u16::from(number % 3),
        generation: u32::from(number / 3 % 3),
    }
}

/// Processes with a smaller generation may have connections when they are connected.
const ROUTER: Process = Process {
    epoch: 1,
    slot: 9,
    generation: 1,
};

struct Side {
    link: LinkId,
    decoder: Decoder,
}

fn connect(core: &mut Core, number: u8, now: Instant) -> Side {
    let link = if number % 4 == 3 {
        core.connect_client()
    } else {
        core.connect_process(process(number / 4), now)
    };
    Side {
        link,
        decoder: Decoder::new(Direction::FromRouter, 1 << 20),
    }
}

/// What the router has written is read, and understood.
fn drain(core: &mut Core, sides: &mut [Side]) {
    for side in sides {
        let bytes = core.output(side.link).len();
        side.decoder.feed(core.output(side.link));
        core.sent(side.link, bytes);
        while let Some(frame) = side.decoder.next_frame().expect("well formed") {
            FromRouter::from_body(frame.body).expect("understood");
        }
        side.decoder.finish().expect("whole frames");
    }
}

fuzz_target!(|data: &[u8]| {
    let config = CoreConfig {
        limits: LinkLimits {
            payload: 4096,
            queue: 8192,
        },
        waiting: 8,
        names: 32,
        ..CoreConfig::default()
    };
    let mut now = Instant::now();
    let mut core = Core::new(ROUTER, config);
    let mut sides: Vec<Side> = [0, 4, 19, 12]
        .map(|number| connect(&mut core, number, now))
        .into();
    let mut rest = data;
    while let [which, what, length, tail @ ..] = rest {
        let (bytes, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let at = usize::from(*which) % LINKS;
        let link = sides[at].link;
        let say = |core: &mut Core, message: ToRouter<'_>| {
            let mut wire = Vec::new();
            if message.append(bytes, &mut wire).is_ok() {
                core.receive(link, &wire, now);
            }
        };
        match what % 10 {
            0 => core.receive(link, bytes, now),
            1..4 => {
                // The bytes as a body, in a good envelope.
                let mut wire = b"WR\x01\x01".to_vec();
                wire.extend_from_slice(&u32::from(*length).min(bytes.len() as u32).to_le_bytes());
                wire.extend_from_slice(&3u32.to_le_bytes());
                wire.extend_from_slice(bytes);
                wire.extend_from_slice(b"xyz");
                core.receive(link, &wire, now);
            }
            4 => {
                let process = process(*length);
                say(&mut core, ToRouter::Hello { process });
            }
            5 => say(&mut core, ToRouter::Synced { seq: 0 }),
            6 => {
                // Bare bytes as a message; and a payload that is the same bytes.
                let message = ToRouter::from_body(bytes).unwrap_or(ToRouter::HelloClient);
                say(&mut core, message);
            }
            7 => {
                core.closed(link, now);
                sides[at] = connect(&mut core, *length, now);
            }
            8 => {
                now += Duration::from_millis(u64::from(*length) * 40);
                core.tick(now);
            }
            _ if *length % 2 == 0 => core.expect(process(*length), now),
            _ => core.ended(process(*length), now),
        }
        // A side that does not read is part of the game.
        if *which < 128 {
            drain(&mut core, &mut sides);
        }
        while let Some(event) = core.next_event() {
            let _ = event.to_string();
            if let CoreEvent::Ended { link, .. } = event {
                drain(&mut core, &mut sides);
                core.closed(link, now);
                if let Some(side) = sides.iter_mut().find(|side| side.link == link) {
                    *side = connect(&mut core, *length, now);
                }
            }
        }
    }
    for side in &sides {
        core.closed(side.link, now);
    }
    core.tick(now + Duration::from_secs(60));
    assert_eq!(core.processes().count(), 0);
    assert_eq!(core.counters().waiting, 0);
});

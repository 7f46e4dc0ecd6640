//! Users and rooms, over several processes.

use std::collections::BTreeSet;

use workhive_tests::eventually;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;

use super::language::Language;
use super::{Plan, Server, ask, who};

const COUNT: usize = 3;

fn start(language: &'static Language) -> Server {
    Plan::new(language, &["push", "push_text"])
        .count(COUNT)
        .start()
}

/// A client with this uid.
#[track_caller]
fn client(server: &Server, uid: &str) -> WsClient {
    let mut client = server.ws("push");
    assert_eq!(ask(&mut client, uid), format!("bound {uid}"));
    client
}

/// Clients with these uids, each in another process.
#[track_caller]
fn spread<const N: usize>(server: &Server, uids: [&str; N]) -> [WsClient; N] {
    let mut taken = BTreeSet::new();
    uids.map(|uid| {
        eventually("a client in another process", || {
            let mut client = client(server, uid);
            if taken.insert(who(&ask(&mut client, "!who")).0) {
                return Some(client);
            }
            client.close();
            None
        })
    })
}

/// Asks until the answer is the one that is wanted: what others do is not known everywhere at once.
#[track_caller]
fn ask_until(client: &mut WsClient, order: &str, wanted: &str) {
    eventually(&format!("{order}: {wanted}"), || {
        (ask(client, order) == wanted).then_some(())
    });
}

/// How many processes have logged a line with these words.
fn told(server: &Server, words: &str) -> usize {
    let log = server.log();
    let lines = log.iter().filter_map(|line| line.split_once(words));
    let places = lines.filter_map(|(before, _)| before.split(' ').nth(2));
    places.collect::<BTreeSet<_>>().len()
}

pub(crate) fn push(language: &'static Language) {
    let server = start(language);
    let uids = ["ann", "bob", "сергей"];
    let mut clients = spread(&server, uids);
    let mut met = BTreeSet::new();
    eventually("every process has taken lines", || {
        let mut pusher: TextClient = server.text("push_text");
        met.insert(who(&pusher.ask("!who")).0);
        for (uid, client) in uids.iter().zip(&mut clients) {
            let words = format!("some words for {uid}");
            assert_eq!(pusher.ask(&format!("{uid} {words}")), "ok");
            assert_eq!(client.text(), words);
        }
        assert_eq!(pusher.ask("nobody some words"), "fail");
        (met.len() == COUNT).then_some(())
    });
    let [mut ann, bob, _] = clients;
    assert_eq!(ask(&mut ann, "!uid"), "ann");
    bob.close();
    let mut pusher = server.text("push_text");
    eventually("bob is gone", || {
        (pusher.ask("bob are you there") == "fail").then_some(())
    });
}

pub(crate) fn rooms(language: &'static Language) {
    let server = start(language);
    let [mut ann, mut bob, mut eve] = spread(&server, ["ann", "bob", "eve"]);
    for client in [&mut ann, &mut bob] {
        assert_eq!(ask(client, "!join kitchen"), "joined kitchen");
    }
    assert_eq!(ask(&mut bob, "!join attic"), "joined attic");
    assert_eq!(ask(&mut bob, "!rooms"), "attic,kitchen");
    assert_eq!(ask(&mut eve, "!rooms"), "");
    assert_eq!(ask(&mut eve, "!size kitchen"), "2");
    assert_eq!(ask(&mut eve, "!say kitchen who is there?"), "said 2");
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.text(), "who is there?");
    }
    // Whoever speaks does not hear it, being left out.
    assert_eq!(ask(&mut ann, "!say kitchen I am"), "said 1");
    assert_eq!(bob.text(), "I am");
    assert_eq!(ask(&mut bob, "!leave kitchen"), "left kitchen");
    assert_eq!(ask(&mut bob, "!rooms"), "attic");
    ask_until(&mut eve, "!size kitchen", "1");
    ann.close();
    ask_until(&mut eve, "!size kitchen", "0");
}

pub(crate) fn broadcast(language: &'static Language) {
    let server = start(language);
    let mut clients = spread(&server, ["ann", "bob", "eve"]);
    clients[0].send("!all hello to everybody");
    for client in &mut clients {
        assert_eq!(client.text(), "hello to everybody");
    }
}

pub(crate) fn presence(language: &'static Language) {
    let server = start(language);
    let mut number = 0;
    eventually("every process listens for who comes", || {
        // One hears of it from when the router knows that it wants to.
        number += 1;
        client(&server, &format!("early {number}")).close();
        (told(&server, "online early ") == COUNT).then_some(())
    });
    let [mut ann, bob] = spread(&server, ["ann", "bob"]);
    assert_eq!(ask(&mut ann, "!online bob"), "online");
    assert_eq!(ask(&mut ann, "!online nobody"), "offline");
    ask_until(&mut ann, "!count", "2");
    eventually("every process is told who comes", || {
        (told(&server, "online bob") == COUNT).then_some(())
    });
    bob.close();
    ask_until(&mut ann, "!online bob", "offline");
    ask_until(&mut ann, "!count", "1");
    eventually("every process is told who goes", || {
        (told(&server, "offline bob") == COUNT).then_some(())
    });
}

pub(crate) fn outcomes(language: &'static Language) {
    let server = start(language);
    let [mut ann, mut bob] = spread(&server, ["ann", "bob"]);
    let mut again = client(&server, "bob");
    assert_eq!(ask(&mut ann, "!to bob to both of you"), "delivered 2");
    assert_eq!(
        (bob.text(), again.text()),
        ("to both of you".to_owned(), "to both of you".to_owned())
    );
    assert_eq!(ask(&mut ann, "!to nobody words"), "delivered 0");
    let id = ask(&mut bob, "!id");
    assert_eq!(
        ask(&mut ann, &format!("!send {id} to one of you")),
        "delivered 1"
    );
    assert_eq!(bob.text(), "to one of you");
    bob.close();
    eventually("the connection is gone", || {
        (ask(&mut ann, &format!("!send {id} too late")) == "delivered 0").then_some(())
    });
}

pub(crate) fn kick(language: &'static Language) {
    let server = start(language);
    let [mut ann, mut bob] = spread(&server, ["ann", "bob"]);
    let mut again = client(&server, "bob");
    ann.send("!kick bob");
    for client in [&mut bob, &mut again] {
        assert_eq!(client.goodbye(), (4001, "kicked".to_owned()));
    }
    ann.send("!to ann still here");
    let mut answers = [ann.text(), ann.text()];
    answers.sort();
    assert_eq!(answers, ["delivered 1", "still here"]);
}

pub(crate) fn publish(language: &'static Language) {
    let server = start(language);
    let mut ann = client(&server, "ann");
    ann.send("!publish other no news");
    let mut number = 0;
    eventually("every process has it", || {
        // A process hears what is published from when the router knows of it.
        number += 1;
        ann.send(&format!("!publish case news {number}"));
        assert_eq!(ask(&mut ann, "!count"), "1");
        (told(&server, "topic news ") == COUNT).then_some(())
    });
    assert_eq!(told(&server, "topic no news"), 0);
}

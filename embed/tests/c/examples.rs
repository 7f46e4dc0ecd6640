//! The examples do what they say.

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Port, Setup, eventually, tools};

use crate::cases::built::{build_folder, compile, linked_library};
use crate::cases::list::folder;

/// An example, compiled; `None` if there is no compiler.
fn example(name: &str) -> Option<Setup> {
    let cc = tools::find("cc")?;
    let (target, _lock) = build_folder(&format!("example-{name}"));
    let source = folder().join(format!("c/examples/{name}.c"));
    let program = target.join(name);
    compile(&cc, &[source], &[], &linked_library(&target), &program);
    Some(Setup::new(program.to_str().expect("a readable path")))
}

#[test]
fn push_reaches_a_user_on_any_process_by_a_line_to_any() {
    let Some(setup) = example("push") else {
        return;
    };
    let (ws, text) = (Port::reserve(), Port::reserve());
    let hive = setup
        .env("PUSH_WS", format!("websocket://{ws}"))
        .env("PUSH_TEXT", format!("text://{text}"))
        .start();
    assert_eq!(hive.workers().len(), 4);
    let mut clients: Vec<_> = (0..8).map(|_| WsClient::connect(ws.addr())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&format!("uid{number}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let line = format!(r#"{{"uid":"uid{number}","percent":"88%"}}"#);
        eventually("the user is known", || {
            let answer = TextClient::connect(text.addr()).ask(&line);
            (answer == "ok").then_some(())
        });
        assert_eq!(client.text(), line);
    }
    let mut pusher = TextClient::connect(text.addr());
    assert_eq!(pusher.ask(r#"{"uid":"nobody"}"#), "fail");
    pusher.send("no uid at all");
    assert_eq!(pusher.until_gone(), b"");
}

#[test]
fn chat_has_rooms_and_words_for_one_alone() {
    let Some(setup) = example("chat") else {
        return;
    };
    let (http, ws) = (Port::reserve(), Port::reserve());
    let _hive = setup
        .env("CHAT_HTTP", format!("http://{http}"))
        .env("CHAT_WS", format!("websocket://{ws}"))
        .start();
    let page = HttpClient::connect(http.addr()).get("/");
    assert!(
        page.text().contains(&format!(":{}`", ws.number())),
        "{page:?}"
    );

    let enter = |name: &str| {
        let mut client = WsClient::connect(ws.addr());
        client.send(&format!("{name} attic"));
        said(&mut client, &format!("you are {name} in attic, process "));
        client
    };
    let (mut ann, mut bob) = (enter("ann"), enter("bob"));
    // To be online is to be known: of bob, ann hears that.
    said(&mut ann, "bob is online");
    ann.send("@bob are you there?");
    said(&mut bob, "ann says to you alone: are you there?");
    bob.send("hello to all");
    for client in [&mut ann, &mut bob] {
        said(client, "bob says: hello to all");
    }
    ann.send("@nobody hello?");
    said(&mut ann, "nobody is not there");
    bob.close();
    said(&mut ann, "bob has gone");
}

/// Receives until this is said: who comes is told in between.
#[track_caller]
fn said(client: &mut WsClient, start: &str) {
    while !client.text().starts_with(start) {}
}

//! Clients of a push server send to each other, if it lets them.

use serde_json::{Value, json};
use workhive_tests::program;
use workhive_tests::push::{Push, PushSetup};
use workhive_tests::ws::WsClient;

fn setup(count: usize) -> PushSetup {
    PushSetup::new(program!("workhive-under-test"), count)
}

fn open(count: usize) -> Push {
    setup(count).options(&["--peer-messages"]).start()
}

fn json(client: &mut WsClient) -> Value {
    serde_json::from_str(&client.text()).expect("JSON")
}

fn ask(client: &mut WsClient, message: &Value) -> Value {
    client.send(&message.to_string());
    json(client)
}

#[test]
fn one_client_reaches_another_in_whichever_process_and_learns_of_it() {
    for count in [1, 3] {
        let push = open(count);
        let mut clients = if count == 1 {
            vec![push.client("u1"), push.client("u2")]
        } else {
            push.spread(&["u1", "u2"])
        };
        let [one, two] = clients.as_mut_slice() else {
            panic!("two clients");
        };
        for n in 0..20 {
            let data = json!({"n": n, "text": "grüße"});
            let answer = ask(one, &json!({"to": "u2", "data": data}));
            assert_eq!(answer, json!({"to": "u2", "ok": true}));
            assert_eq!(json(two), json!({"from": "u1", "data": data}));
        }
        let answer = ask(one, &json!({"to": "nobody", "data": 1}));
        assert_eq!(answer, json!({"to": "nobody", "ok": false}));
        // Nobody can speak in another's name.
        let answer = ask(one, &json!({"to": "u2", "from": "u3", "data": 1}));
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[test]
fn a_room_is_joined_when_it_is_said_to_be_and_left_likewise() {
    let push = open(3);
    let mut clients = push.spread(&["u1", "u2", "u3"]);
    for client in &mut clients {
        let answer = ask(client, &json!({"join": "lobby"}));
        assert_eq!(answer, json!({"join": "lobby", "ok": true}));
    }
    let to_room = json!({"room": "lobby", "data": "all here"});
    assert_eq!(push.post("/push", &to_room).json()["delivered"], 3);
    for client in &mut clients {
        assert_eq!(client.text(), "all here");
    }
    let answer = ask(&mut clients[0], &json!({"leave": "lobby"}));
    assert_eq!(answer, json!({"leave": "lobby", "ok": true}));
    workhive_tests::eventually("two are left", || {
        (push.post("/push", &to_room).json()["delivered"] == 2).then_some(())
    });
    let answer = ask(&mut clients[0], &json!({"leave": "lobby"}));
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(answer["error"].is_string(), "{answer}");
}

#[test]
fn many_messages_are_answered_in_their_order() {
    let push = open(3);
    let mut clients = push.spread(&["u1", "u2"]);
    let [one, two] = clients.as_mut_slice() else {
        panic!("two clients");
    };
    let wishes: Vec<Value> = (0..600)
        .map(|n| match n % 4 {
            0 => json!({"to": "u2", "data": n}),
            1 => json!({"to": "nobody", "data": n}),
            2 => json!({"to": n}),
            _ => json!({"join": n / 40}),
        })
        .collect();
    for wish in &wishes {
        one.send(&wish.to_string());
    }
    for (n, wish) in wishes.iter().enumerate() {
        let answer = json(one);
        match n % 4 {
            0 => assert_eq!(answer, json!({"to": "u2", "ok": true}), "{wish}"),
            1 => assert_eq!(answer, json!({"to": "nobody", "ok": false}), "{wish}"),
            2 => assert_eq!(answer, json!({"error": "data is missing"}), "{wish}"),
            _ => assert_eq!(
                answer,
                json!({"join": (n / 40).to_string(), "ok": true}),
                "{wish}"
            ),
        }
    }
    for n in (0..600).step_by(4) {
        assert_eq!(json(two), json!({"from": "u1", "data": n}));
    }
}

#[test]
fn what_makes_no_sense_is_answered_and_the_connection_stays() {
    let push = open(1);
    let mut client = push.client("u1");
    for bad in [
        "hello",
        "",
        "{}",
        "[]",
        r#"{"to":"u1"}"#,
        r#"{"join":""}"#,
        r#"{"jump":1}"#,
    ] {
        client.send(bad);
        let answer = json(&mut client);
        assert!(answer["error"].is_string(), "{bad:?}: {answer}");
    }
    let answer = ask(&mut client, &json!({"to": "u1", "data": "myself"}));
    // The message and its answer, in whichever order they come.
    let mut both = [answer.to_string(), client.text()];
    both.sort();
    let message = json!({"from": "u1", "data": "myself"}).to_string();
    let outcome = json!({"to": "u1", "ok": true}).to_string();
    let mut expected = [message, outcome];
    expected.sort();
    let parsed = |texts: [String; 2]| {
        texts.map(|text| {
            serde_json::from_str::<Value>(&text)
                .expect("JSON")
                .to_string()
        })
    };
    let (mut both, mut expected) = (parsed(both), parsed(expected));
    both.sort();
    expected.sort();
    assert_eq!(both, expected);
}

#[test]
fn unless_they_may_clients_have_nothing_to_say_and_one_line_tells_of_it() {
    let push = setup(1).start();
    let mut client = push.client("u1");
    let mut other = push.client("u2");
    for _ in 0..100 {
        client.send(r#"{"to":"u2","data":1}"#);
    }
    client.ping();
    assert_eq!(push.pusher().ask(r#"{"uid":"u2","n":1}"#), "ok");
    assert_eq!(other.text(), r#"{"uid":"u2","n":1}"#);
    push.hive
        .wait_for_line("--peer-messages gives it a meaning");
    let log = push.hive.log();
    let lines = log
        .iter()
        .filter(|line| line.contains("is ignored (1 since"));
    assert_eq!(lines.count(), 1, "{log:#?}");
}

//! Clients say who they are: by their first message, or by a token that somebody has signed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::{KeyPair, Seed};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use workhive_tests::program;
use workhive_tests::push::{Push, PushSetup};
use workhive_tests::ws::WsClient;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn setup(count: usize) -> PushSetup {
    PushSetup::new(program!("workhive-under-test"), count)
}

/// A server that wants tokens signed with [`SECRET`].
fn with_secret(count: usize) -> Push {
    let setup = setup(count);
    let file = setup.secret_file("secret", &format!("{SECRET}\n"));
    setup
        .options(&["--auth", "jwt", "--jwt-key", &file])
        .start()
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn hs256(secret: &str, payload: &Value) -> String {
    let signed = format!("{}.{}", encode(&json!({"alg": "HS256"})), encode(payload));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(signed.as_bytes());
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

/// Seconds since 1970, so many from now.
fn at(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs();
    i64::try_from(now).expect("a clock") + seconds
}

/// A token for `uid` that is good for a minute.
fn token(uid: &str) -> String {
    hs256(SECRET, &json!({"sub": uid, "exp": at(60)}))
}

fn assert_reached(push: &Push, client: &mut WsClient, uid: &str) {
    push.wait_for(uid, 1);
    let answer = push.post("/push", &json!({"uid": uid, "data": "hello"}));
    assert_eq!(answer.json()["delivered"], 1, "{answer:?}");
    assert_eq!(client.text(), "hello");
}

#[test]
fn a_token_may_come_in_the_url_in_a_header_or_as_the_first_message() {
    let push = with_secret(2);
    let mut client = WsClient::ask(push.ws.addr(), &format!("/?token={}", token("u1")), &[]);
    assert_reached(&push, &mut client, "u1");
    let bearer = format!("Bearer {}", token("u2"));
    let mut client = WsClient::ask(push.ws.addr(), "/", &[("authorization", &bearer)]);
    assert_reached(&push, &mut client, "u2");
    let mut client = WsClient::connect(push.ws.addr());
    client.send(&token("u3"));
    assert_reached(&push, &mut client, "u3");
}

#[test]
fn a_bad_token_is_refused_wherever_it_comes_and_nobody_is_told_why() {
    let push = with_secret(1);
    let not_a_token = "u1".to_owned();
    let other_key = hs256(
        &SECRET.replace('0', "x"),
        &json!({"sub": "u1", "exp": at(60)}),
    );
    let expired = hs256(SECRET, &json!({"sub": "u1", "exp": at(-60)}));
    let not_yet = hs256(SECRET, &json!({"sub": "u1", "exp": at(600), "nbf": at(60)}));
    let for_ever = hs256(SECRET, &json!({"sub": "u1"}));
    let nobody = hs256(SECRET, &json!({"exp": at(60)}));
    let (_, rest) = token("u1")
        .split_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a dot");
    let (payload, _) = rest.split_once('.').expect("a dot");
    let unsigned = format!("{}.{payload}.", encode(&json!({"alg": "none"})));
    let refused = (1008, "not authorized".to_owned());
    for bad in [
        not_a_token,
        other_key,
        expired,
        not_yet,
        for_ever,
        nobody,
        unsigned,
    ] {
        let mut client = WsClient::connect(push.ws.addr());
        client.send(&bad);
        assert_eq!(client.goodbye(), refused, "{bad}");
        let mut client = WsClient::ask(push.ws.addr(), &format!("/?token={bad}"), &[]);
        assert_eq!(client.goodbye(), refused, "{bad}");
        let bearer = format!("Bearer {bad}");
        let mut client = WsClient::ask(push.ws.addr(), "/", &[("authorization", &bearer)]);
        assert_eq!(client.goodbye(), refused, "{bad}");
    }
    assert_eq!(push.connections("u1"), [""; 0]);
}

#[test]
fn a_public_key_takes_what_its_owner_has_signed_and_nothing_else() {
    let pair = KeyPair::from_seed(Seed::new([7; 32]));
    let pem = pair.pk.to_pem();
    let setup = setup(1);
    let file = setup.secret_file("public.pem", &pem);
    let push = setup
        .options(&["--auth", "jwt", "--jwt-key", &file])
        .start();
    let payload = json!({"sub": "u1", "exp": at(60)});
    let signed = format!("{}.{}", encode(&json!({"alg": "EdDSA"})), encode(&payload));
    let signature = pair.sk.sign(signed.as_bytes(), None);
    let good = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    push.hive.wait_for_line("client tokens: EdDSA");
    let mut client = WsClient::connect(push.ws.addr());
    client.send(&good);
    assert_reached(&push, &mut client, "u1");
    // What everybody has is no secret.
    let mut client = WsClient::connect(push.ws.addr());
    client.send(&hs256(&pem, &payload));
    assert_eq!(client.close_code(), 1008);
}

#[test]
fn a_client_whose_token_expires_has_to_go() {
    let push = with_secret(2);
    // With the leeway, it is good for two more seconds.
    let short = hs256(SECRET, &json!({"sub": "u1", "exp": at(-3)}));
    let mut client = WsClient::connect(push.ws.addr());
    client.send(&short);
    let mut long = WsClient::connect(push.ws.addr());
    long.send(&token("u2"));
    assert_eq!(client.goodbye(), (4003, "token expired".to_owned()));
    push.wait_for("u1", 0);
    assert_reached(&push, &mut long, "u2");
}

#[test]
fn who_does_not_say_who_it_is_has_to_go() {
    for auth in [&[][..], &["--auth", "jwt"]] {
        let setup = setup(1);
        let file = setup.secret_file("secret", SECRET);
        let setup = match auth {
            [] => setup,
            auth => setup.options(auth).options(&["--jwt-key", &file]),
        };
        let push = setup.options(&["--auth-timeout", "0.3"]).start();
        let started = std::time::Instant::now();
        let mut silent = WsClient::connect(push.ws.addr());
        let mut known = WsClient::connect(push.ws.addr());
        known.send(&if auth.is_empty() {
            "u1".to_owned()
        } else {
            token("u1")
        });
        assert_eq!(silent.goodbye(), (1008, "no login in time".to_owned()));
        assert!(started.elapsed() >= Duration::from_millis(300));
        // The time is over for everybody who came with it.
        assert_reached(&push, &mut known, "u1");
    }
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_runs() {
    let setup = setup(1);
    let short = setup.secret_file("short", "short\n");
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGM+PDpL4xbDwXPCkLdzQkOWvF8YfNbGUTM1GXIr me@here\n";
    let ssh = setup.secret_file("id.pub", ssh);
    for (options, why) in [
        (&["--auth", "jwt"][..], "--jwt-key"),
        (&["--auth", "jwt", "--jwt-key", &short], "at least 32 bytes"),
        (&["--auth", "jwt", "--jwt-key", "/nowhere"], "/nowhere"),
        (&["--auth", "jwt", "--jwt-key", &ssh], "a key of ssh"),
        (
            &["--auth", "jwt", "--jwt-key", &ssh, "--jwt-alg", "HS256"],
            "a key of ssh",
        ),
        (&["--auth", "password"], "neither"),
        (&["--token-file", &short], "at least 16 bytes"),
    ] {
        let refused = setup.setup.verb("start", options);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    assert!(setup.setup.family().is_empty());
}

#[test]
fn a_restart_with_a_bad_key_leaves_the_running_server_alone() {
    let push = with_secret(1);
    let refused = push.hive.verb("restart", &["-d", "--jwt-key", "/nowhere"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let mut client = WsClient::connect(push.ws.addr());
    client.send(&token("u1"));
    assert_reached(&push, &mut client, "u1");
}

//! The push server with clients that are not ours: Python's `websockets`, `nc`, a browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, program, tools};

const LINE: &str = r#"{"uid":"uid1","percent":"88%"}"#;

/// A program that is killed with its test.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn push(ws: &Port, text: &Port) -> Hive {
    Setup::new(program!("workhive-under-test"))
        .words(["push"])
        .options(["--ws", &ws.to_string(), "--text", &text.to_string()])
        .start()
}

#[test]
fn python_websockets_and_nc() {
    let (Some(python), Some(nc)) = (tools::python_with("websockets"), tools::find("nc")) else {
        return;
    };
    let (ws, text) = (Port::reserve(), Port::reserve());
    let hive = push(&ws, &text);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/uid.py");
    let mut command = hive.setup().command(python);
    command.arg(script).args([&ws.number().to_string(), "uid1"]);
    let mut client = Client(
        command
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts"),
    );
    let mut printed = BufReader::new(client.0.stdout.take().expect("a pipe")).lines();
    let mut next = || printed.next().expect("a line").expect("text");
    assert_eq!(next(), "connected");

    let ask = |line: &str| {
        let mut command = hive.setup().command(&nc);
        command.args(["127.0.0.1", &text.number().to_string()]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut nc = Client(command.spawn().expect("nc starts"));
        // Its standard input stays open: some kinds of nc end at the end of it, and some do not.
        let mut input = nc.0.stdin.take().expect("a pipe");
        writeln!(input, "{line}").expect("nc takes a line");
        let mut answer = String::new();
        let mut output = BufReader::new(nc.0.stdout.take().expect("a pipe"));
        output.read_line(&mut answer).expect("text");
        answer
    };
    assert_eq!(ask(r#"{"uid":"uid2","percent":"88%"}"#), "fail\n");
    assert_eq!(ask(LINE), "ok\n");
    assert_eq!(next(), LINE);
    assert!(client.0.wait().expect("python ends").success());
}

#[test]
fn a_headless_browser() {
    let Some(chromium) = tools::find("chromium") else {
        return;
    };
    let (ws, text) = (Port::reserve(), Port::reserve());
    let _hive = push(&ws, &text);
    // The page comes from here, and reports what it received to here.
    let site = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let home = format!("http://{}/", site.local_addr().expect("bound"));
    // A browser is many processes; what is left of them goes with this.
    let place = Setup::new(chromium.to_str().expect("a readable path"));
    let profile = place.path("profile");
    let mut command = place.command(chromium);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--remote-debugging-port=0",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(&home)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _browser = Client(command.spawn().expect("chromium starts"));

    let page = include_str!("../clients/page.html").replace("@PORT@", &ws.number().to_string());
    while serve(&site, &page).0 != "GET / HTTP/1.1" {}
    // The browser says its uid when it likes; until then the answer is fail.
    let mut pusher = TextClient::connect(text.addr());
    eventually("ok for uid1", || (pusher.ask(LINE) == "ok").then_some(()));
    let (what, body) = loop {
        let (request, body) = serve(&site, &page);
        if request.starts_with("POST") {
            break (request, body);
        }
    };
    assert_eq!(what, "POST /received HTTP/1.1");
    assert_eq!(body, LINE);
}

/// Answers one request with the page; returns its request line and its body.
fn serve(site: &TcpListener, page: &str) -> (String, String) {
    let (stream, _) = site.accept().expect("a connection");
    // A browser opens connections that it may never use.
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .expect("an open connection");
    let mut stream = BufReader::new(stream);
    match request(&mut stream) {
        Some(request) => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            // The browser may have gone on to something else.
            let _ = stream.get_mut().write_all(answer.as_bytes());
            request
        }
        None => Default::default(),
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut length = 0;
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).ok()?;
        let field = field.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((line.trim_end().to_owned(), String::from_utf8(body).ok()?))
}

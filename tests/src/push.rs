//! A push server under test.

use serde_json::Value;

use crate::http::{HttpClient, Response};
use crate::text::TextClient;
use crate::ws::WsClient;
use crate::{Hive, Port, Setup, eventually};

/// How a push server is started: `workhive push` with a port of each kind.
#[derive(Debug)]
pub struct PushSetup {
    /// The rest of it.
    pub setup: Setup,
    ws: Port,
    text: Port,
    http: Port,
}

/// A push server that runs.
#[derive(Debug)]
pub struct Push {
    /// Its hive.
    pub hive: Hive,
    /// Where clients connect.
    pub ws: Port,
    /// Where lines come in.
    pub text: Port,
    /// Where HTTP requests come in.
    pub http: Port,
}

impl PushSetup {
    /// So many processes of the program at `path`, which is that of `workhive`.
    pub fn new(path: &str, count: usize) -> Self {
        let (ws, text, http) = (Port::reserve(), Port::reserve(), Port::reserve());
        let setup = Setup::new(path).words(["push"]).options([
            "--ws",
            &ws.to_string(),
            "--text",
            &text.to_string(),
            "--http",
            &http.to_string(),
            "--count",
            &count.to_string(),
        ]);
        Self {
            setup,
            ws,
            text,
            http,
        }
    }

    /// More options for `start`.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.setup = self.setup.options(options.iter().copied());
        self
    }

    /// A file in the directory of the hive that only its user can read, and its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn secret_file(&self, name: &str, content: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.setup.path(name);
        std::fs::write(&path, content).expect("a directory");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a file");
        path.display().to_string()
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn start(self) -> Push {
        Push {
            hive: self.setup.start(),
            ws: self.ws,
            text: self.text,
            http: self.http,
        }
    }
}

impl Push {
    /// A connection to the text port.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn pusher(&self) -> TextClient {
        TextClient::connect(self.text.addr())
    }

    /// A connection to the HTTP port.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn api(&self) -> HttpClient {
        HttpClient::connect(self.http.addr())
    }

    /// A request to the HTTP port with a JSON body, on a connection of its own.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.api().ask("POST", path, "", &body.to_string())
    }

    /// A WebSocket client that says `uid` first, and is known by it in the whole hive when this returns, as its only
    /// connection or as one more.
    ///
    /// # Panics
    /// If it does not get that far.
    #[track_caller]
    pub fn client(&self, uid: &str) -> WsClient {
        let before = self.connections(uid).len();
        let mut client = WsClient::connect(self.ws.addr());
        client.send(uid);
        self.wait_for(uid, before + 1);
        client
    }

    /// The ids of the connections of a uid.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn connections(&self, uid: &str) -> Vec<String> {
        let answer = self.api().get(&format!("/connections?uid={uid}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        let ids = answer["connections"].as_array().expect("a list").iter();
        ids.map(|id| id.as_str().expect("an id").to_owned())
            .collect()
    }

    /// Waits until the hive knows of so many connections of a uid.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn wait_for(&self, uid: &str, connections: usize) {
        eventually("the connections of a uid", || {
            (self.connections(uid).len() == connections).then_some(())
        });
    }

    /// Clients of these uids in a process each, so that every push to another goes from process to process.
    ///
    /// # Panics
    /// If they do not come to be.
    #[track_caller]
    pub fn spread(&self, uids: &[&str]) -> Vec<WsClient> {
        let mut taken: Vec<String> = Vec::new();
        let spread = uids.iter().map(|uid| {
            eventually("a client in another process", || {
                let client = self.client(uid);
                let ids = self.connections(uid);
                // EPOCH-ROW-GENERATION-NUMBER: what is before the last dash is the process.
                let process = ids[0].rsplit_once('-').expect("an id").0.to_owned();
                if taken.contains(&process) {
                    client.close();
                    self.wait_for(uid, 0);
                    return None;
                }
                taken.push(process);
                Some(client)
            })
        });
        spread.collect()
    }
}

//! What is tested in every language, against the case server that each of them writes (`embed/cases/README.md`).

pub(crate) mod built;
pub(crate) mod conn;
pub(crate) mod echo;
pub(crate) mod http;
pub(crate) mod inner;
pub(crate) mod installed;
pub(crate) mod language;
pub(crate) mod list;
pub(crate) mod packages;
pub(crate) mod process;
pub(crate) mod push;
pub(crate) mod supervise;
pub(crate) mod under;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::{RawWs, WsClient};
use workhive_tests::{Hive, Port, Setup, tools};

use language::Language;
use under::Under;

/// A test for every case, in a language.
macro_rules! case_tests {
    ($language:expr) => {
        $crate::cases::case_tests! { $language, false =>
            echo::echo_text, echo::echo_frame, echo::echo_tcp, echo::echo_http, echo::echo_websocket,
            echo::echo_netstring, echo::own_protocol_refuses, echo::binary, echo::sixteen_mib,
            echo::utf8_whole, echo::utf8_refused_in, echo::utf8_refused_out,
            conn::about, conn::data, conn::timers, conn::timer_fails, conn::close, conn::close_codes,
            conn::destroy, conn::kept_handle, conn::pause, conn::backpressure, conn::callback_fails,
            http::handshake, http::http_request, http::http_response, http::http_stream,
            http::http_after, http::http_injection,
            push::push, push::rooms, push::broadcast, push::presence, push::outcomes, push::kick,
            push::publish,
            inner::inner_plain, inner::inner_reuse_port, inner::inner_shared,
            supervise::reload, supervise::kill, supervise::stop_one, supervise::stop,
            supervise::start_fails,
            process::statistics, process::log_lines, process::log_function, process::own_signal,
            process::own_signals, process::own_child, process::async_handler, process::async_fails,
            process::async_beside,
        }

        #[test]
        fn the_package_passes_its_own_tests() {
            $crate::cases::packages::own_tests($language);
        }
    };
    // Those that the list marks, with their workers under valgrind.
    ($language:expr, under valgrind) => {
        $crate::cases::case_tests! { $language, true =>
            echo::echo_text, echo::echo_http, echo::echo_websocket, conn::timers, conn::close_codes,
            conn::callback_fails, push::push,
        }
    };
    ($language:expr, $valgrind:expr => $($module:ident::$id:ident),+ $(,)?) => {
        $(
            #[test]
            fn $id() {
                let test = $crate::cases::$module::$id;
                $crate::cases::run($language, $valgrind, stringify!($id), test);
            }
        )+

        #[test]
        fn the_tests_are_those_of_the_list() {
            $crate::cases::assert_listed(&[$(stringify!($id)),+], $valgrind);
        }
    };
}
pub(crate) use case_tests;

/// These are all cases of the list; or all that it wants to see under valgrind.
#[track_caller]
pub(crate) fn assert_listed(ids: &[&str], valgrind: bool) {
    let mut cases = list::read();
    cases.retain(|case| case.valgrind || !valgrind);
    let listed: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(listed, ids);
}

/// Runs a case in a language, unless the list says why not, or the machine lacks the language. With
/// `WORKHIVE_CASES_UNDER=valgrind`, all run under valgrind.
pub(crate) fn run(language: &str, valgrind: bool, id: &str, test: fn(&'static Language)) {
    let cases = list::read();
    let case = cases.iter().find(|case| case.id == id);
    let case = case.unwrap_or_else(|| panic!("{id} is not in cases.toml"));
    let valgrind =
        valgrind || std::env::var("WORKHIVE_CASES_UNDER").is_ok_and(|under| under == "valgrind");
    let known = Language::named(language, valgrind);
    if let Some(reason) = case.reason_against(language) {
        tools::skip(&format!("not in {language}: {} ({reason})", case.sentence));
    } else if known.command().is_some() && (!valgrind || tools::find("valgrind").is_some()) {
        test(known);
    }
}

/// A case server that is to be started: with the groups whose names are given.
pub(crate) struct Plan {
    setup: Setup,
    under: Option<Under>,
    ports: BTreeMap<&'static str, Port>,
}

/// A case server that runs.
pub(crate) struct Server {
    // It ends first.
    hive: Hive,
    _under: Option<Under>,
    ports: BTreeMap<&'static str, Port>,
}

impl Plan {
    /// A server in this language; each name is that of a variable: `text`, `push_text`.
    pub(crate) fn new(language: &'static Language, names: &[&'static str]) -> Self {
        let command = language.command().expect("a language that is there");
        let (program, words) = command.split_first().expect("a program");
        let mut setup = Setup::new(program).words(words.iter().cloned());
        let library = built::library();
        setup = setup.env(
            "WORKHIVE_LIBRARY",
            library.to_str().expect("a readable path"),
        );
        let ports: BTreeMap<_, _> = names.iter().map(|name| (*name, Port::reserve())).collect();
        for (name, port) in &ports {
            let variable = format!("WORKHIVE_CASE_{}", name.to_uppercase());
            setup = setup.env(variable, port.to_string());
        }
        let mut under = None;
        if language.valgrind {
            let (changed, logs) = under::valgrind(setup, true).expect("it was there before");
            (setup, under) = (changed, Some(logs));
        }
        Self {
            setup,
            under,
            ports,
        }
    }

    /// So many processes in every group.
    pub(crate) fn count(self, count: usize) -> Self {
        self.options(&["--count", &count.to_string()])
    }

    /// Options for its start.
    pub(crate) fn options(mut self, options: &[&str]) -> Self {
        self.setup = self.setup.options(options.iter().copied());
        self
    }

    /// One more variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.setup = self.setup.env(name, value);
        self
    }

    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        let hive = match &self.under {
            None => self.setup.start(),
            Some(_) => under::start(self.setup),
        };
        Server {
            hive,
            _under: self.under,
            ports: self.ports,
        }
    }

    /// How it would be started.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }
}

/// A case server with these groups, one process each.
#[track_caller]
pub(crate) fn server(language: &'static Language, names: &[&'static str]) -> Server {
    Plan::new(language, names).start()
}

impl Server {
    /// Where a group listens.
    pub(crate) fn addr(&self, name: &str) -> SocketAddr {
        self.ports[name].addr()
    }

    /// A connection to a group that speaks lines.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> TextClient {
        TextClient::connect(self.addr(name))
    }

    /// A connection to a group that speaks WebSocket.
    #[track_caller]
    pub(crate) fn ws(&self, name: &str) -> WsClient {
        WsClient::connect(self.addr(name))
    }

    /// The same, by a client that sends whatever it is told to.
    #[track_caller]
    pub(crate) fn raw_ws(&self, name: &str) -> RawWs {
        RawWs::connect(self.addr(name))
    }

    /// A connection to the group `http`.
    #[track_caller]
    pub(crate) fn http(&self) -> HttpClient {
        HttpClient::connect(self.addr("http"))
    }
}

impl Deref for Server {
    type Target = Hive;

    fn deref(&self) -> &Hive {
        &self.hive
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Hive {
        &mut self.hive
    }
}

/// Sends a text message over a WebSocket, and receives one.
#[track_caller]
pub(crate) fn ask(client: &mut WsClient, order: &str) -> String {
    client.send(order);
    client.text()
}

/// What comes first of an answer `SLOT PID`, and what comes second.
#[track_caller]
pub(crate) fn who(answer: &str) -> (usize, u32) {
    let (slot, pid) = answer.split_once(' ').expect("two numbers");
    (slot.parse().expect("a slot"), pid.parse().expect("a pid"))
}

//! What the push server is told on its command line.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use workhive_protocols::{Http, Protocol, Text};
use workhive_worker::{Address, Listener};

use super::key::{Algorithm, Key};
use super::token::Token;
use crate::{Args, Cli, UsageError};

const ABOUT: &str = "\
Pushes messages to WebSocket clients by their uid

While it runs, `workhive push send`, `workhive push online` and `workhive push rooms` reach its clients from the command \
line; each has a --help of its own.
";

/// The options, understood.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) ws: String,
    pub(super) text: String,
    pub(super) http: Option<String>,
    pub(super) token: Option<Token>,
    pub(super) auth: Auth,
    /// How long a client may take to say who it is.
    pub(super) patience: Duration,
    pub(super) peer_messages: bool,
    pub(super) reuse_port: bool,
    /// What whoever runs the server should know, to be logged when it starts.
    pub(super) notices: Vec<Notice>,
}

/// How clients say who they are.
#[derive(Debug, Clone)]
pub(super) enum Auth {
    /// The first message is the uid.
    FirstMessage,
    /// By a token that this key checks.
    Jwt(Rc<Key>),
}

/// Something to be logged at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) level: log::Level,
    pub(super) text: String,
}

/// The command line of the push server.
pub(super) fn cli() -> Cli {
    Cli::new("workhive push")
        .about(ABOUT)
        .option(
            "ws",
            "ADDR",
            "127.0.0.1:1234",
            "Where clients connect; the first message of each is its uid, or its token",
        )
        .option(
            "text",
            "ADDR",
            "127.0.0.1:5678",
            "Where lines like {\"uid\":\"u1\",...} come in; each is pushed whole and answered ok (somebody has it), fail (nobody has) or \
             unknown (somebody may have it); whoever reaches it can push",
        )
        .option(
            "http",
            "ADDR",
            "",
            "Where programs push by HTTP; nowhere unless given",
        )
        .option(
            "token-file",
            "FILE",
            "",
            "The bearer token that programs have to show at --http; without one only this machine is served there",
        )
        .option(
            "auth",
            "HOW",
            "first-message",
            "How clients say who they are: first-message (it is the uid) or jwt (a signed token, see --jwt-key)",
        )
        .option(
            "jwt-key",
            "FILE",
            "",
            "What tokens are checked with: a secret of one word (HS256), or an Ed25519 public key as PEM (EdDSA)",
        )
        .option(
            "jwt-alg",
            "ALG",
            "",
            "How tokens have to be signed: HS256 or EdDSA; as the file of --jwt-key suggests unless given",
        )
        .option(
            "auth-timeout",
            "SECONDS",
            "10",
            "How long a client may take to say who it is",
        )
        .flag(
            "peer-messages",
            "Let clients send to each other: {\"to\":\"u2\",\"data\":..}, {\"join\":\"room\"}, {\"leave\":\"room\"}",
        )
        .flag(
            "reuse-port",
            "Let every process have listening sockets of its own, also at --ws",
        )
}

impl Options {
    /// Reads the options of a server that is to be started. Files are read now, by the user who starts it: its
    /// processes may run as somebody who must not see them.
    pub(super) fn read(args: &Args) -> Result<Self, UsageError> {
        let mut notices = Vec::new();
        let token = file(
            args,
            "token-file",
            &mut notices,
            |_: &Token| true,
            Token::read,
        )?;
        let wanted = algorithm(args.value("jwt-alg"))?;
        let read = |bytes: &[u8]| Key::read(bytes, wanted);
        let key = file(args, "jwt-key", &mut notices, Key::is_secret, read)?;
        let auth = match (args.value("auth"), key) {
            ("first-message", None) if wanted.is_some() => {
                return Err(UsageError::new("--jwt-alg goes with --auth jwt"));
            }
            ("first-message", None) => Auth::FirstMessage,
            ("first-message", Some(_)) => {
                return Err(UsageError::new("--jwt-key goes with --auth jwt"));
            }
            ("jwt", Some(key)) => {
                // Text in a file may be a secret or a public key, and who meant the other should see it.
                notices.push(Notice {
                    level: log::Level::Info,
                    text: format!("client tokens: {}", key.algorithm().name()),
                });
                Auth::Jwt(Rc::new(key))
            }
            ("jwt", None) => {
                return Err(UsageError::new(
                    "--auth jwt needs --jwt-key FILE: the secret, or the public key, of whoever signs the tokens",
                ));
            }
            (other, _) => {
                return Err(UsageError::new(format!(
                    "--auth \"{other}\" is neither first-message nor jwt"
                )));
            }
        };
        let text = args.value("text");
        notices.extend(open_to_many(text)?);
        let http = Some(args.value("http")).filter(|address| !address.is_empty());
        match (http, &token) {
            (Some(http), None) => notices.push(unprotected(http)?),
            (None, Some(_)) => return Err(UsageError::new("--token-file goes with --http ADDR")),
            _ => {}
        }
        Ok(Self {
            ws: args.value("ws").to_owned(),
            text: text.to_owned(),
            http: http.map(str::to_owned),
            token,
            auth,
            patience: patience(args.value("auth-timeout"))?,
            peer_messages: args.flag("peer-messages"),
            reuse_port: args.flag("reuse-port"),
            notices,
        })
    }
}

/// What is in the file that an option names. Others should not be able to read it if it is `secret`.
fn file<T>(
    args: &Args,
    option: &str,
    notices: &mut Vec<Notice>,
    secret: impl Fn(&T) -> bool,
    read: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Option<T>, UsageError> {
    let path = args.value(option);
    if path.is_empty() {
        return Ok(None);
    }
    let failed = |why: &dyn Display| UsageError::new(format!("--{option} {path}: {why}"));
    let path = Path::new(path);
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    let found = read(&bytes).map_err(|why| failed(&why))?;
    let mode = std::fs::metadata(path).map_or(0, |found| found.mode());
    if secret(&found) && mode & 0o004 != 0 {
        notices.push(Notice {
            level: log::Level::Warn,
            text: format!(
                "every user of this machine can read {}; take that away: chmod o-r {0}",
                path.display()
            ),
        });
    }
    Ok(Some(found))
}

/// An address, and whether only this machine reaches it.
fn address<P: Protocol>(option: &str, address: &str) -> Result<(Address, bool), UsageError> {
    let address = Listener::<P>::new::<()>(address)
        .parse_address()
        .map_err(|error| UsageError::new(format!("--{option}: {error}")))?;
    let near = match &address {
        Address::Tcp(address) => address.ip().is_loopback(),
        Address::Unix(_) => true,
    };
    Ok((address, near))
}

/// Lines have no place for a token, so all who reach them can push, which may be meant.
fn open_to_many(text: &str) -> Result<Option<Notice>, UsageError> {
    let (address, near) = address::<Text>("text", text)?;
    Ok((!near).then(|| Notice {
        level: log::Level::Warn,
        text: format!(
            "everybody who reaches --text {address} can push to every client; let a firewall keep out whom you do not \
             trust, or choose an address of this machine alone, such as 127.0.0.1"
        ),
    }))
}

/// Without a token whoever reaches the address can push, so it has to be out of reach.
fn unprotected(http: &str) -> Result<Notice, UsageError> {
    let (address, near) = address::<Http>("http", http)?;
    if near {
        Ok(Notice {
            level: log::Level::Info,
            text: format!(
                "without --token-file every program of this machine can push at http://{address}"
            ),
        })
    } else {
        Err(UsageError::new(format!(
            "--http {http} needs --token-file FILE: without a token everybody who reaches it could push. Or choose an \
             address of this machine alone, such as 127.0.0.1"
        )))
    }
}

fn algorithm(name: &str) -> Result<Option<Algorithm>, UsageError> {
    if name.is_empty() {
        return Ok(None);
    }
    let found = Algorithm::of(name).ok_or_else(|| {
        UsageError::new(format!("--jwt-alg \"{name}\" is neither HS256 nor EdDSA"))
    })?;
    Ok(Some(found))
}

fn patience(seconds: &str) -> Result<Duration, UsageError> {
    let parsed = seconds.parse().ok().map(Duration::try_from_secs_f64);
    match parsed {
        Some(Ok(patience))
            if (Duration::from_millis(1)..=Duration::from_hours(1)).contains(&patience) =>
        {
            Ok(patience)
        }
        _ => Err(UsageError::new(format!(
            "--auth-timeout \"{seconds}\" must be a number of seconds, more than 0 and at most 3600"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(words: &[&str]) -> Result<Options, UsageError> {
        let words = std::iter::once("push").chain(words.iter().copied());
        Options::read(&cli().parse_from(words)?)
    }

    fn error(words: &[&str]) -> String {
        read(words).expect_err("it makes no sense").to_string()
    }

    fn with_mode(directory: &tempfile::TempDir, text: &str, mode: u32) -> String {
        let path = directory.path().join(format!("{mode:o}"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn nothing_has_to_be_said() {
        let options = read(&[]).unwrap();
        assert_eq!(options.ws, "127.0.0.1:1234");
        assert!(matches!(options.auth, Auth::FirstMessage));
        assert_eq!(options.patience, Duration::from_secs(10));
        assert!(options.http.is_none() && options.notices.is_empty());
    }

    #[test]
    fn who_can_reach_the_http_port_has_to_show_a_token() {
        let directory = tempfile::tempdir().unwrap();
        for near in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "unix:/tmp/a",
            "http://127.1.2.3:1",
        ] {
            let options = read(&["--http", near]).unwrap();
            assert_eq!(options.notices.len(), 1, "{near}");
            assert_eq!(options.notices[0].level, log::Level::Info);
        }
        for far in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
            assert!(error(&["--http", far]).contains("--token-file"), "{far}");
            let file = with_mode(&directory, "0123456789abcdef\n", 0o600);
            let options = read(&["--http", far, "--token-file", &file]).unwrap();
            assert!(options.notices.is_empty() && options.token.is_some());
        }
        assert!(error(&["--http", "nonsense"]).contains("--http"));
    }

    #[test]
    fn a_text_port_that_others_reach_is_warned_of() {
        for (address, warned) in [
            ("127.0.0.1:5678", false),
            ("[::1]:5678", false),
            ("unix:/tmp/a", false),
            ("0.0.0.0:5678", true),
            ("[::]:5678", true),
            ("192.0.2.1:5678", true),
        ] {
            let notices = read(&["--text", address]).unwrap().notices;
            assert_eq!(notices.len(), usize::from(warned), "{notices:?}");
            for notice in notices {
                assert_eq!(notice.level, log::Level::Warn);
                assert!(notice.text.contains(address), "{notice:?}");
            }
        }
        assert!(error(&["--text", "nonsense"]).contains("--text"));
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            let file = with_mode(&directory, secret, mode);
            for words in [
                ["--auth", "jwt", "--jwt-key", &file].as_slice(),
                &["--http", "0.0.0.0:1", "--token-file", &file],
            ] {
                let notices = read(words).unwrap().notices;
                let found = notices
                    .iter()
                    .any(|notice| notice.level == log::Level::Warn);
                assert_eq!(found, warned, "{notices:?}");
            }
        }
    }

    #[test]
    fn a_public_key_may_be_public() {
        let directory = tempfile::tempdir().unwrap();
        let seed = ed25519_compact::Seed::new([7; 32]);
        let pem = ed25519_compact::KeyPair::from_seed(seed).pk.to_pem();
        let file = with_mode(&directory, &pem, 0o644);
        let options = read(&["--auth", "jwt", "--jwt-key", &file]).unwrap();
        let said: Vec<_> = options.notices.iter().map(|n| n.text.as_str()).collect();
        assert_eq!(said, ["client tokens: EdDSA"]);
    }

    #[test]
    fn the_algorithm_can_be_said_and_is_logged() {
        let directory = tempfile::tempdir().unwrap();
        let file = with_mode(&directory, "0123456789abcdef0123456789abcdef", 0o600);
        let key = ["--auth", "jwt", "--jwt-key", &file];
        for more in [&[][..], &["--jwt-alg", "HS256"]] {
            let notices = read(&[&key, more].concat()).unwrap().notices;
            assert_eq!(notices.len(), 1, "{notices:?}");
            assert_eq!(notices[0].level, log::Level::Info);
            assert_eq!(notices[0].text, "client tokens: HS256");
        }
        let error = error(&[&key[..], &["--jwt-alg", "EdDSA"]].concat());
        assert!(error.contains("no public key as PEM"), "{error}");
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let file = with_mode(&directory, "0123456789abcdef0123456789abcdef", 0o600);
        for (words, why) in [
            (&["--auth", "basic"][..], "neither first-message nor jwt"),
            (&["--auth", "jwt"], "--jwt-key FILE"),
            (&["--jwt-key", &file], "--auth jwt"),
            (&["--jwt-alg", "HS256"], "--auth jwt"),
            (&["--jwt-alg", "RS256"], "neither HS256 nor EdDSA"),
            (&["--token-file", &file], "--http ADDR"),
            (
                &["--auth", "jwt", "--jwt-key", "/nowhere"],
                "--jwt-key /nowhere",
            ),
            (&["--auth-timeout", "0"], "--auth-timeout"),
            (&["--auth-timeout", "soon"], "--auth-timeout"),
            (&["--auth-timeout", "3601"], "--auth-timeout"),
        ] {
            let error = error(words);
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }
}

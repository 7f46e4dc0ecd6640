//! The key that tokens are checked with, and what must not be taken for one.
//!
//! A secret can be any bytes, so a public key in a form that is not known here would pass for one, and whoever has it,
//! which is everybody, could sign. So a secret is a word of text, and a word that spells a key is refused.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ed25519_compact::PublicKey;
use serde::de::IgnoredAny;

/// Shortest secret, in bytes: as long as the hash, RFC 7518 section 3.2.
const MIN_SECRET: usize = 32;

/// How the one kind of PEM file begins that is of use.
const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----";

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    EdDsa,
}

/// What tokens are checked with.
pub(super) enum Key {
    /// A shared secret.
    Hs256(Vec<u8>),
    /// The public key of whoever signs, RFC 8037.
    EdDsa(Box<PublicKey>),
}

impl Algorithm {
    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Hs256, Self::EdDsa]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Its name in tokens.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Key {
    /// The key in a file, for this algorithm; without one, a public key as PEM is for `EdDSA`, and all else for HS256.
    pub(super) fn read(bytes: &[u8], wanted: Option<Algorithm>) -> Result<Self, String> {
        let is_public = contains(bytes, PUBLIC);
        let found = if is_public {
            Algorithm::EdDsa
        } else {
            Algorithm::Hs256
        };
        match wanted.unwrap_or(found) {
            Algorithm::Hs256 => secret(bytes).map(|secret| Self::Hs256(secret.to_vec())),
            Algorithm::EdDsa if is_public => public_key(bytes).map(Box::new).map(Self::EdDsa),
            Algorithm::EdDsa => {
                let found = looks_like(bytes).map_or(String::new(), |what| format!(" ({what})"));
                Err(format!(
                    "it holds no public key as PEM{found}: what EdDSA needs begins with -----BEGIN PUBLIC KEY-----"
                ))
            }
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::Hs256,
            Self::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    /// True if whoever has the key can make tokens.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Hs256(_))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm().name())
    }
}

fn public_key(bytes: &[u8]) -> Result<PublicKey, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is no PEM file".to_owned())?;
    PublicKey::from_pem(text).map_err(|_| "its public key is not one for Ed25519".to_owned())
}

/// The secret in a file: its only line.
fn secret(bytes: &[u8]) -> Result<&[u8], String> {
    if let Some(what) = looks_like(bytes) {
        return Err(format!(
            "it looks like {what}, which is no secret: EdDSA takes an Ed25519 public key as PEM \
             (-----BEGIN PUBLIC KEY-----), HS256 a secret such as `openssl rand -base64 48` makes"
        ));
    }
    let secret = line(bytes);
    if !secret.iter().all(u8::is_ascii_graphic) {
        return Err(
            "a secret is one word of ASCII text, such as `openssl rand -base64 48` makes"
                .to_owned(),
        );
    }
    if secret.len() < MIN_SECRET {
        return Err(format!(
            "a secret has at least {MIN_SECRET} bytes, this one has {}: make one with `openssl rand -base64 48`",
            secret.len()
        ));
    }
    Ok(secret)
}

/// Without the line break at the end, which is the editor's.
fn line(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What a file of keys is, plain or as hex or base64.
fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return Some("JSON, perhaps a JSON Web Key");
    }
    form(bytes).or_else(|| {
        let line = bytes.trim_ascii();
        // Of a token, only the first part has to be looked at.
        let word = line.split(|byte| *byte == b'.').next().unwrap_or(line);
        decoded(word).into_iter().find_map(|bytes| form(&bytes))
    })
}

fn form(bytes: &[u8]) -> Option<&'static str> {
    if contains(bytes, b"-----BEGIN ") || contains(bytes, b"---- BEGIN ") {
        Some("a PEM file")
    } else if is_ssh(bytes) {
        Some("a key of ssh")
    } else if is_der(bytes) {
        Some("a key in DER")
    } else if bytes.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        Some("JSON, perhaps a JSON Web Key or a token")
    } else {
        None
    }
}

/// A line of a public key file or of `authorized_keys`, or the bytes of a key, RFC 4253 section 6.6.
fn is_ssh(bytes: &[u8]) -> bool {
    const KINDS: [&[u8]; 4] = [b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-"];
    let is_kind = |word: &[u8]| KINDS.iter().any(|kind| word.starts_with(kind));
    match bytes {
        [0, 0, 0, _, kind @ ..] => is_kind(kind),
        _ => is_kind(bytes) || bytes.split(u8::is_ascii_whitespace).skip(1).any(is_kind),
    }
}

/// A sequence that is all there is, with a sequence or a number first, as in public keys, private keys and certificates.
fn is_der(bytes: &[u8]) -> bool {
    let (length, rest) = match bytes {
        [0x30, short @ 0..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x30, 0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x30, 0x82, high, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return false,
    };
    rest.len() == length && matches!(rest, [0x30 | 0x02, ..])
}

/// What a word can stand for.
fn decoded(word: &[u8]) -> Vec<Vec<u8>> {
    let digits = word.trim_ascii_end();
    let bare = digits
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(digits, |last| &digits[..=last]);
    let mut found = Vec::new();
    found.extend(STANDARD_NO_PAD.decode(bare).ok());
    found.extend(URL_SAFE_NO_PAD.decode(bare).ok());
    found.extend(from_hex(word));
    found
}

fn from_hex(word: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, rest) = word.as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(byte).collect())
        .flatten()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ed25519_compact::{KeyPair, Seed};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    /// An Ed25519 public key in DER: this, and the 32 bytes of the key.
    const SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

    fn public() -> PublicKey {
        KeyPair::from_seed(Seed::new([7; 32])).pk
    }

    fn der() -> Vec<u8> {
        [SPKI, public().as_ref()].concat()
    }

    /// As ssh has it in files, between base64.
    fn ssh() -> Vec<u8> {
        let name = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20";
        [name.as_slice(), public().as_ref()].concat()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
            .collect()
    }

    fn refused(bytes: &[u8]) -> String {
        Key::read(bytes, None).expect_err("it is no secret")
    }

    #[test]
    fn a_word_of_text_is_a_secret() {
        for text in [
            "0123456789abcdef0123456789abcdef",
            // openssl rand -base64 48, -hex 32.
            "q3GJ3HsVxKSoqI2d4k5mVsoKcz1rrQbZ0A5kW9mRFAmpS1eWmV3yqkSo1bBbT0aM",
            "a9c5e3f0b7d1428693fe10cd55aa7720b5fd9a3ae6814c0298d7b1c4f3e2d5a6",
            "Tr0ub4dor&3-x!with{signs}[and]=more.dots.",
        ] {
            for end in ["", "\n", "\r\n"] {
                let key = Key::read(format!("{text}{end}").as_bytes(), None).expect(text);
                assert!(matches!(key, Key::Hs256(secret) if secret == text.as_bytes()));
            }
        }
        // It may be a key or a secret; what it is taken for is logged.
        let raw = STANDARD.encode(public().as_ref());
        let key = Key::read(raw.as_bytes(), None).expect("a secret");
        assert_eq!(key.algorithm(), Algorithm::Hs256);
    }

    #[test]
    fn what_everybody_may_know_is_no_secret() {
        let line = format!("ssh-ed25519 {} me@here\n", STANDARD.encode(ssh()));
        let options = format!("restrict,pty {line}");
        let blob = STANDARD.encode(ssh());
        let der_text = STANDARD.encode(der());
        let der_url = URL_SAFE_NO_PAD.encode(der());
        let der_hex = hex(&der());
        let upper = der_hex.to_uppercase();
        let pem = public().to_pem();
        let pem_text = STANDARD.encode(&pem);
        let rfc4716 = format!("---- BEGIN SSH2 PUBLIC KEY ----\n{blob}\n");
        let x = URL_SAFE_NO_PAD.encode(public().as_ref());
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        let jwk_text = URL_SAFE_NO_PAD.encode(&jwk);
        let spread = format!("\n {{\n\"kty\":\"OKP\",\"crv\":\"Ed25519\",\n\"x\":\"{x}\"}}\n");
        let token = format!("{jwk_text}.{jwk_text}.{x}");
        for (bytes, what) in [
            (line.as_bytes(), "ssh"),
            (options.as_bytes(), "ssh"),
            (
                b"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5",
                "ssh",
            ),
            (b"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlz", "ssh"),
            (blob.as_bytes(), "ssh"),
            (rfc4716.as_bytes(), "PEM"),
            (&der(), "DER"),
            (der_text.as_bytes(), "DER"),
            (format!("{der_text}\n").as_bytes(), "DER"),
            (der_url.as_bytes(), "DER"),
            (der_hex.as_bytes(), "DER"),
            (upper.as_bytes(), "DER"),
            (pem_text.as_bytes(), "PEM"),
            (b"-----BEGIN PRIVATE KEY-----\n", "PEM"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA", "PEM"),
            (jwk.as_bytes(), "JSON"),
            (spread.as_bytes(), "JSON"),
            (jwk_text.as_bytes(), "JSON"),
            (token.as_bytes(), "JSON"),
        ] {
            let text = String::from_utf8_lossy(bytes);
            let error = refused(bytes);
            assert!(error.contains("looks like"), "{text}: {error}");
            assert!(error.contains(what), "{text}: {error}");
            assert!(error.contains("BEGIN PUBLIC KEY"), "{text}: {error}");
            // Nor if it is said to be one.
            assert!(Key::read(bytes, Some(Algorithm::Hs256)).is_err(), "{text}");
        }
        assert!(Key::read(pem.as_bytes(), Some(Algorithm::Hs256)).is_err());
        for bytes in [
            public().as_ref(),
            b"\x00\x01\x02\x03\x00\x01\x02\x03\x00\x01\x02\x03\x00\x01\x02\x03\x00\x01\x02\x03\x00\x01\x02\x03\x00\x01\x02\x03\xff\xff\xff\xff",
            b"two words are not one word, however long",
            b"0123456789abcdef0123456789abcdef\nuntrusted",
            "größer-als-jedes-andere-Geheimnis-der-Welt".as_bytes(),
        ] {
            let error = refused(bytes);
            assert!(error.contains("one word"), "{error}");
        }
        let error = refused(b"short\n");
        assert!(
            error.contains("at least 32 bytes, this one has 5"),
            "{error}"
        );
    }

    #[test]
    fn the_file_decides_on_the_algorithm_unless_it_is_said() {
        let pem = public().to_pem();
        for wanted in [None, Some(Algorithm::EdDsa)] {
            let key = Key::read(pem.as_bytes(), wanted).expect("a public key");
            assert_eq!(key.algorithm(), Algorithm::EdDsa);
        }
        for wanted in [None, Some(Algorithm::Hs256)] {
            let key = Key::read(SECRET, wanted).expect("a secret");
            assert_eq!(key.algorithm(), Algorithm::Hs256);
        }
        for (bytes, why) in [
            (SECRET, "no public key as PEM: "),
            (&der(), "no public key as PEM (a key in DER)"),
            (b"ssh-ed25519 AAAA", "(a key of ssh)"),
            (b"-----BEGIN PRIVATE KEY-----\n", "(a PEM file)"),
            (
                b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "Ed25519",
            ),
        ] {
            let error = Key::read(bytes, Some(Algorithm::EdDsa)).expect_err("no public key");
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(Algorithm::of("hs256"), Some(Algorithm::Hs256));
        assert_eq!(Algorithm::of("EdDSA"), Some(Algorithm::EdDsa));
        assert_eq!(Algorithm::of("RS256"), None);
    }

    #[test]
    fn few_secrets_are_taken_for_something_else() {
        // Bytes that begin as something does, and go on as chance has it.
        for bytes in [
            b"\x30\x2aAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".as_slice(),
            b"\x30\x21AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"{\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"\x00\x00\x00\x0bAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(Key::read(STANDARD.encode(bytes).as_bytes(), None).is_ok());
            assert!(Key::read(hex(bytes).as_bytes(), None).is_ok());
        }
    }
}

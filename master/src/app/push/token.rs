//! The token that programs show at the HTTP port.

use subtle::ConstantTimeEq as _;

/// Shortest token, in bytes: what cannot be guessed over a network.
const MIN: usize = 16;

/// A bearer token, RFC 6750.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    /// The token in a file: its only line.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let token = text.trim_end_matches(['\r', '\n']);
        if token.len() < MIN {
            return Err(format!(
                "a token has at least {MIN} bytes, this one has {}: make one with `openssl rand -hex 32`",
                token.len()
            ));
        }
        // RFC 6750 section 2.1: what can stand in the header field.
        let plain = |c: char| c.is_ascii_graphic() && !",\"\\".contains(c);
        if !token.chars().all(plain) {
            return Err("a token is one word of ASCII letters, digits and signs".to_owned());
        }
        Ok(Self(token.to_owned()))
    }

    /// True if the value of an `Authorization` field shows this token. Takes the same time wherever they differ.
    pub(super) fn is_shown(&self, authorization: Option<&str>) -> bool {
        let shown = authorization.and_then(bearer).unwrap_or_default();
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

/// The token in the value of an `Authorization` field, if it is of that kind. The scheme's name is in any case, RFC 9110
/// section 11.1.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_whole_or_not() {
        let token = Token::read(b"0123456789abcdef\n").unwrap();
        for shown in [
            "Bearer 0123456789abcdef",
            "bearer  0123456789abcdef",
            " BEARER 0123456789abcdef ",
        ] {
            assert!(token.is_shown(Some(shown)), "{shown}");
        }
        for hidden in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdefg",
            "Bearer 0123456789abcdeF",
        ] {
            assert!(!token.is_shown(Some(hidden)), "{hidden}");
        }
        assert!(!token.is_shown(None));
    }

    #[test]
    fn tokens_that_do_not_do_say_why() {
        for (bytes, why) in [
            (&b""[..], "at least 16 bytes, this one has 0"),
            (b"0123456789abcde\n", "has 15"),
            (b"0123456789 abcdef", "one word"),
            (b"0123456789abcdef\nmore", "one word"),
            (b"0123456789abcdef\xff", "no text"),
        ] {
            let error = Token::read(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

//! JSON Web Tokens (RFC 7519) in their compact form, signed by one key with one algorithm.
//!
//! Which algorithm that is, the key decides, and never the token: a token that could choose would choose to be checked
//! with a public key as if it were a secret.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_compact::Signature;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use sha2::Sha256;
use workhive_worker::Uid;

use super::key::Key;
use super::order::object;

/// How far the clock of whoever signs may be off.
pub(super) const LEEWAY: Duration = Duration::from_secs(5);

/// Longest token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// What a token that is in order says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) uid: Uid,
    /// For how much longer.
    pub(super) left: Duration,
}

/// What is wrong with a token. For the log, and never for who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    TooLong,
    Form,
    Algorithm,
    Critical,
    Signature,
    Expiry,
    Expired,
    NotYet,
    Subject,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// It is there, whatever it is.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

#[derive(Deserialize)]
struct Payload {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Key {
    /// Checks a token, when it is `now` since 1970.
    pub(super) fn check(&self, token: &str, now: Duration) -> Result<Claims, Flaw> {
        if token.len() > MAX_TOKEN {
            return Err(Flaw::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(Flaw::Form)?;
        let header: Header = part(header)?;
        if header.alg != self.algorithm().name() {
            return Err(Flaw::Algorithm);
        }
        if header.crit {
            // RFC 7515 section 4.1.11: it asks for something that we do not know.
            return Err(Flaw::Critical);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Flaw::Form)?;
        if !self.has_signed(signed.as_bytes(), &signature) {
            return Err(Flaw::Signature);
        }
        let payload: Payload = part(payload)?;
        let now = now.as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        let left = payload.exp.ok_or(Flaw::Expiry)? + leeway - now;
        if left <= 0.0 {
            return Err(Flaw::Expired);
        }
        if payload.nbf.is_some_and(|from| from - leeway > now) {
            return Err(Flaw::NotYet);
        }
        let uid = payload.sub.and_then(|sub| Uid::new(sub).ok());
        Ok(Claims {
            uid: uid.ok_or(Flaw::Subject)?,
            left: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX),
        })
    }

    fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(secret) => {
                // A key may have any length, RFC 2104.
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
                    return false;
                };
                mac.update(signed);
                // Takes the same time wherever they differ.
                mac.verify_slice(signature).is_ok()
            }
            Self::EdDsa(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
        }
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, Flaw> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Form)?;
    object(&json).map_err(|_| Flaw::Form)
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is too long",
            Self::Form => "it is no token, or one of its claims is not of its kind",
            Self::Algorithm => "it is for another algorithm than the key",
            Self::Critical => "it asks for an extension",
            Self::Signature => "its signature is wrong",
            Self::Expiry => "it has no exp",
            Self::Expired => "it has expired",
            Self::NotYet => "it is not valid yet",
            Self::Subject => "its sub is no uid of 1 to 255 bytes",
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_compact::{KeyPair, Seed};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: Duration = Duration::from_hours(500_000);

    fn encode(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn hs256(secret: &[u8], header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        let signature = mac.finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn pair() -> KeyPair {
        KeyPair::from_seed(Seed::new([7; 32]))
    }

    fn eddsa(pair: &KeyPair, header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = pair.sk.sign(signed.as_bytes(), None);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn secret() -> Key {
        Key::read(SECRET, None).unwrap()
    }

    fn header() -> Value {
        json!({"alg": "HS256", "typ": "JWT"})
    }

    /// The time in a token, some seconds from now.
    fn at(seconds: i64) -> i64 {
        1_800_000_000 + seconds
    }

    fn check(payload: &Value) -> Result<Claims, Flaw> {
        secret().check(&hs256(SECRET, &header(), payload), NOW)
    }

    #[test]
    fn a_token_in_order_names_its_user_and_how_long_it_is_good() {
        let claims = check(&json!({"sub": "u1", "exp": at(60), "nbf": at(-1), "aud": ["x"]}));
        let expected = Claims {
            uid: Uid::new("u1").unwrap(),
            left: Duration::from_secs(65),
        };
        assert_eq!(claims, Ok(expected));
    }

    #[test]
    fn a_token_made_elsewhere_is_read() {
        // RFC 7515 appendix A.1, with its key; it has neither sub nor a time that has not passed.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = Key::Hs256(URL_SAFE_NO_PAD.decode(key).unwrap());
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
                     Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(
            key.check(token, Duration::from_secs(1_300_819_000)),
            Err(Flaw::Subject)
        );
        assert_eq!(key.check(token, NOW), Err(Flaw::Expired));
    }

    #[test]
    fn times_count_with_a_small_leeway() {
        let with =
            |exp: i64, nbf: i64| check(&json!({"sub": "u1", "exp": at(exp), "nbf": at(nbf)}));
        assert!(with(-4, 4).is_ok());
        assert_eq!(with(-5, 0), Err(Flaw::Expired));
        assert_eq!(with(60, 6), Err(Flaw::NotYet));
        assert_eq!(check(&json!({"sub": "u1"})), Err(Flaw::Expiry));
        assert_eq!(check(&json!({"sub": "u1", "exp": "soon"})), Err(Flaw::Form));
        assert_eq!(
            check(&json!({"sub": "u1", "exp": at(60), "nbf": "x"})),
            Err(Flaw::Form)
        );
        let far = check(&json!({"sub": "u1", "exp": 1e300})).unwrap();
        assert_eq!(far.left, Duration::MAX);
    }

    #[test]
    fn the_subject_is_a_uid() {
        for sub in [json!(""), json!("u".repeat(256)), json!(null)] {
            assert_eq!(
                check(&json!({"sub": sub, "exp": at(60)})),
                Err(Flaw::Subject)
            );
        }
        assert_eq!(check(&json!({"sub": 17, "exp": at(60)})), Err(Flaw::Form));
    }

    #[test]
    fn the_key_decides_on_the_algorithm_and_the_token_does_not() {
        let payload = json!({"sub": "u1", "exp": at(60)});
        for alg in ["none", "None", "HS512", "EdDSA", "hs256", ""] {
            let token = hs256(SECRET, &json!({"alg": alg}), &payload);
            assert_eq!(secret().check(&token, NOW), Err(Flaw::Algorithm), "{alg}");
        }
        let unsigned = format!("{}.{}.", encode(&json!({"alg": "HS256"})), encode(&payload));
        assert_eq!(secret().check(&unsigned, NOW), Err(Flaw::Signature));
        // The old trick: the public key, which everybody has, taken for a secret.
        let pem = pair().pk.to_pem();
        let public = Key::read(pem.as_bytes(), None).unwrap();
        let forged = hs256(pem.as_bytes(), &json!({"alg": "HS256"}), &payload);
        assert_eq!(public.check(&forged, NOW), Err(Flaw::Algorithm));
        let forged = hs256(pem.as_bytes(), &json!({"alg": "EdDSA"}), &payload);
        assert_eq!(public.check(&forged, NOW), Err(Flaw::Signature));
    }

    #[test]
    fn a_public_key_checks_what_its_owner_has_signed() {
        let key = Key::read(pair().pk.to_pem().as_bytes(), None).unwrap();
        let payload = json!({"sub": "u1", "exp": at(60)});
        let header = json!({"alg": "EdDSA"});
        assert!(key.check(&eddsa(&pair(), &header, &payload), NOW).is_ok());
        let stranger = KeyPair::from_seed(Seed::new([8; 32]));
        assert_eq!(
            key.check(&eddsa(&stranger, &header, &payload), NOW),
            Err(Flaw::Signature)
        );
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let token = hs256(SECRET, &header(), &json!({"sub": "u1", "exp": at(60)}));
        assert!(secret().check(&token, NOW).is_ok());
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(secret().check(&changed, NOW).is_err(), "{index}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for (token, flaw) in [
            ("", Flaw::Form),
            ("a", Flaw::Form),
            ("a.b", Flaw::Form),
            ("..", Flaw::Form),
            ("e30.e30.", Flaw::Form),
            ("e30=.e30.e30", Flaw::Form),
            ("u1", Flaw::Form),
        ] {
            assert_eq!(secret().check(token, NOW), Err(flaw), "{token}");
        }
        let long = format!("{}.e30.e30", "x".repeat(MAX_TOKEN));
        assert_eq!(secret().check(&long, NOW), Err(Flaw::TooLong));
    }

    #[test]
    fn whoever_asks_for_an_extension_does_not_get_it() {
        let payload = json!({"sub": "u1", "exp": at(60)});
        for crit in [json!(["x"]), json!([]), json!(null), json!(false)] {
            let header = json!({"alg": "HS256", "crit": crit});
            let token = hs256(SECRET, &header, &payload);
            assert_eq!(secret().check(&token, NOW), Err(Flaw::Critical), "{crit}");
        }
    }

    #[test]
    fn a_part_is_an_object_and_no_list_of_its_values() {
        assert_eq!(check(&json!(["u1", at(60), null])), Err(Flaw::Form));
        let payload = json!({"sub": "u1", "exp": at(60)});
        for header in [json!(["HS256", null]), json!(["HS256"])] {
            let token = hs256(SECRET, &header, &payload);
            assert_eq!(secret().check(&token, NOW), Err(Flaw::Form), "{header}");
        }
    }
}

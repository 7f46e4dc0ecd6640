//! What programs and clients say in JSON: whom something is for, and what.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use workhive_worker::{ConnectionId, Hive, RouteError, Uid};

/// A name in JSON: a uid, a room, a connection. PHP programs send numbers as readily as strings, so both are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

/// A push, as JSON.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    uid: Option<Name>,
    uids: Option<Vec<Name>>,
    room: Option<Name>,
    rooms: Option<Vec<Name>>,
    all: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    except: Option<OneOrMore>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(
    untagged,
    expecting = "except is the id of a connection, or a list of them"
)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A push that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Push {
    to: Whom,
    data: String,
    except: Vec<ConnectionId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Whom {
    Uid(String),
    Uids(Vec<String>),
    Room(String),
    Rooms(Vec<String>),
    All,
}

impl Order {
    /// The push, or what is wrong with it.
    pub(super) fn understood(self) -> Result<Push, String> {
        let names = |names: Vec<Name>| names.into_iter().map(|name| name.0).collect();
        let mut whom = Vec::new();
        whom.extend(self.uid.map(|uid| Whom::Uid(uid.0)));
        whom.extend(self.uids.map(|uids| Whom::Uids(names(uids))));
        whom.extend(self.room.map(|room| Whom::Room(room.0)));
        whom.extend(self.rooms.map(|rooms| Whom::Rooms(names(rooms))));
        match self.all {
            Some(true) => whom.push(Whom::All),
            Some(false) => return Err("all is true, or is left away".to_owned()),
            None => {}
        }
        let (Some(to), None) = (whom.pop(), whom.pop()) else {
            return Err(
                "exactly one of uid, uids, room, rooms and all says whom it is for".to_owned(),
            );
        };
        to.check()?;
        let except = match self.except {
            None => Vec::new(),
            Some(OneOrMore::One(id)) => vec![id],
            Some(OneOrMore::More(ids)) => ids,
        };
        Ok(Push {
            to,
            data: payload(&self.data.ok_or("data is missing")?)?,
            except: except
                .iter()
                .map(|id| connection(id))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Whom {
    fn check(&self) -> Result<(), String> {
        let (what, names) = match self {
            Self::Uid(uid) => ("uid", std::slice::from_ref(uid)),
            Self::Uids(uids) => ("uid", uids.as_slice()),
            Self::Room(room) => ("room", std::slice::from_ref(room)),
            Self::Rooms(rooms) => ("room", rooms.as_slice()),
            Self::All => return Ok(()),
        };
        names.iter().try_for_each(|name| checked(what, name))
    }
}

impl Push {
    /// Sends it.
    pub(super) fn send(self, mut hive: Hive) -> Result<(), RouteError> {
        for id in self.except {
            hive = hive.except(id);
        }
        match self.to {
            Whom::Uid(uid) => hive.send_to_uid(uid, self.data),
            Whom::Uids(uids) => hive.send_to_uids(uids, self.data),
            Whom::Room(room) => hive.send_to_room(room, self.data),
            Whom::Rooms(rooms) => hive.send_to_rooms(rooms, self.data),
            Whom::All => hive.send_to_all(self.data),
        }
    }
}

/// What a JSON object says. A list of its fields' values, which serde takes for the same, is none.
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// Checks the length of a uid or of a room's name.
pub(super) fn checked(what: &'static str, name: impl AsRef<[u8]>) -> Result<(), String> {
    match name.as_ref().len() {
        1..=Uid::MAX => Ok(()),
        len => Err(RouteError::Length { what, len }.to_string()),
    }
}

/// The id of a connection.
pub(super) fn connection(id: &str) -> Result<ConnectionId, String> {
    id.parse()
        .map_err(|_| format!("{} is no id of a connection", serde_json::Value::from(id)))
}

/// What is pushed: a string as it is, anything else as the JSON that it is.
fn payload(data: &RawValue) -> Result<String, String> {
    let json = data.get();
    if json.starts_with('"') {
        // A lone half of a surrogate pair is all that can be wrong with it.
        serde_json::from_str(json).map_err(|error| format!("data: {error}"))
    } else {
        Ok(json.to_owned())
    }
}

/// For a field that is there even if it is null.
pub(super) fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }

            fn visit_f64<E: Error>(self, _number: f64) -> Result<Name, E> {
                // Many that are written differently are the same here.
                Err(E::custom(
                    "a name that is a number is a whole one of at most 64 bits: write this one as a string",
                ))
            }
        }
        deserializer.deserialize_any(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(json: &str) -> Result<Push, String> {
        object::<Order>(json.as_bytes())?.understood()
    }

    #[test]
    fn a_push_is_for_somebody_and_has_data() {
        let push = understood(r#"{"uid":"u1","data":"hello"}"#).unwrap();
        assert_eq!(push.to, Whom::Uid("u1".to_owned()));
        assert_eq!((push.data.as_str(), push.except.len()), ("hello", 0));
        let push = understood(r#"{"uids":["u1",17,-1],"data":1}"#).unwrap();
        let uids = ["u1", "17", "-1"].map(str::to_owned);
        assert_eq!(push.to, Whom::Uids(uids.to_vec()));
        assert_eq!(
            understood(r#"{"room":"a","data":""}"#).unwrap().to,
            Whom::Room("a".to_owned())
        );
        assert_eq!(
            understood(r#"{"all":true,"data":"x"}"#).unwrap().to,
            Whom::All
        );
        let ids = r#"{"rooms":["a"],"data":"","except":["00000bee-2-7-9","00000bee-2-7-10"]}"#;
        assert_eq!(understood(ids).unwrap().except.len(), 2);
        let id = r#"{"rooms":["a"],"data":"","except":"00000bee-2-7-9"}"#;
        assert_eq!(understood(id).unwrap().except.len(), 1);
    }

    #[test]
    fn a_string_is_pushed_as_it_is_and_the_rest_as_the_json_that_it_is() {
        for (data, pushed) in [
            (r#""88% \"ü\"""#, "88% \"ü\""),
            (r#"{"b" : 1.0,"a":[1e2]}"#, r#"{"b" : 1.0,"a":[1e2]}"#),
            ("null", "null"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            let push = understood(&format!(r#"{{"uid":"u1","data":{data}}}"#)).unwrap();
            assert_eq!(push.data, pushed);
        }
    }

    #[test]
    fn a_number_is_a_name_only_if_it_is_no_other_number() {
        for number in [
            "0",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            "9007199254740993",
        ] {
            let push = understood(&format!(r#"{{"uid":{number},"data":1}}"#)).unwrap();
            assert_eq!(push.to, Whom::Uid(number.to_owned()));
        }
        for number in [
            "18446744073709551616",
            "12345678901234567890123",
            "-9223372036854775809",
            "1.0",
            "1e3",
            "-0",
        ] {
            for whom in [
                format!(r#""uid":{number}"#),
                format!(r#""uids":["u1",{number}]"#),
                format!(r#""room":{number}"#),
            ] {
                let error = understood(&format!(r#"{{{whom},"data":1}}"#)).expect_err(number);
                assert!(
                    error.contains("write this one as a string"),
                    "{whom}: {error}"
                );
            }
        }
    }

    #[test]
    fn what_makes_no_sense_says_what_it_was() {
        for (json, why) in [
            ("", "not a JSON object"),
            (
                r#"["u1",null,null,null,null,"x",null]"#,
                "not a JSON object",
            ),
            ("{", "EOF"),
            ("{}", "exactly one of uid"),
            (r#"{"uid":"u1"}"#, "data is missing"),
            (r#"{"uid":"u1","room":"a","data":1}"#, "exactly one of uid"),
            (r#"{"all":false,"data":1}"#, "all is true"),
            (
                r#"{"uid":"","data":1}"#,
                "a uid has 1 to 255 bytes, this one has 0",
            ),
            (
                r#"{"rooms":["a",""],"data":1}"#,
                "a room has 1 to 255 bytes",
            ),
            (r#"{"uid":["u1"],"data":1}"#, "a string or a number"),
            (r#"{"uid":"u1","dta":1}"#, "unknown field `dta`"),
            (
                r#"{"uid":"u1","uid":"u2","data":1}"#,
                "duplicate field `uid`",
            ),
            (r#"{"uid":"u1","data":1,"except":"x"}"#, "\"x\" is no id"),
            (r#"{"uid":"u1","data":1,"except":7}"#, "except is the id"),
            (r#"{"uid":"u1","data":"\ud800"}"#, "data"),
        ] {
            let error = understood(json).expect_err(json);
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}

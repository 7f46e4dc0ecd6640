//! What went wrong, as a code and a text.

use std::io;

use workhive::codec::EncodeError;
use workhive::{BlockingError, ListenError, RouteError, SendError};
use workhive_worker::AddressError;

use crate::codes::{
    WH_ERR_ACCESS, WH_ERR_ADDRESS, WH_ERR_BUSY, WH_ERR_CLOSE_CODE, WH_ERR_FULL, WH_ERR_GONE,
    WH_ERR_IN_USE, WH_ERR_LISTEN, WH_ERR_NAME, WH_ERR_NOT_BOUND, WH_ERR_NOT_LISTENING,
    WH_ERR_OTHER_HIVE, WH_ERR_PROTOCOL, WH_ERR_SCHEME, WH_ERR_STATE, WH_ERR_SYSTEM,
    WH_ERR_TOO_LONG, WH_ERR_TOO_MANY, WH_ERR_VALUE, wh_result,
};

/// Why a function of the interface did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: wh_result,
    pub(crate) text: Text,
}

/// Most texts are known before anything fails: those cost nothing to make.
#[derive(Debug)]
pub(crate) enum Text {
    Known(&'static str),
    Made(String),
    /// A connection's send buffer is full, or it has ended: what busy programs meet by the thousand. Put into words
    /// when somebody asks.
    Send(SendError),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) const fn known(code: wh_result, text: &'static str) -> Self {
        Self {
            code,
            text: Text::Known(text),
        }
    }

    pub(crate) fn made(code: wh_result, text: impl Into<String>) -> Self {
        Self {
            code,
            text: Text::Made(text.into()),
        }
    }

    /// The connection has ended.
    pub(crate) const fn gone() -> Self {
        Self::known(WH_ERR_GONE, "the connection has ended")
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let code = match error {
            SendError::Full { .. } => WH_ERR_FULL,
            SendError::Gone => WH_ERR_GONE,
            SendError::Encode(EncodeError::TooLong { .. }) => WH_ERR_TOO_LONG,
            // An ended connection is gone; what is left is a handshake that is not answered yet.
            SendError::Encode(EncodeError::NotOpen) | SendError::NotOnLoop => WH_ERR_STATE,
            _ => WH_ERR_PROTOCOL,
        };
        Self {
            code,
            text: Text::Send(error),
        }
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        let code = match error {
            RouteError::Length { .. } => WH_ERR_NAME,
            RouteError::TooManyUids { .. } | RouteError::TooManyRooms { .. } => WH_ERR_TOO_MANY,
            RouteError::NotBound | RouteError::NotInRoom => WH_ERR_NOT_BOUND,
            RouteError::OtherHive { .. } => WH_ERR_OTHER_HIVE,
            RouteError::CloseCode { .. } => WH_ERR_CLOSE_CODE,
            RouteError::TooLong => WH_ERR_TOO_LONG,
            RouteError::Full => WH_ERR_BUSY,
            RouteError::Gone => WH_ERR_GONE,
            _ => WH_ERR_STATE,
        };
        Self::made(code, error.to_string())
    }
}

impl From<BlockingError> for Failure {
    fn from(error: BlockingError) -> Self {
        let code = match error {
            BlockingError::Full { .. } => WH_ERR_BUSY,
            BlockingError::Ended => WH_ERR_GONE,
            _ => WH_ERR_SYSTEM,
        };
        Self::made(code, error.to_string())
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self::made(WH_ERR_ADDRESS, error.to_string())
    }
}

impl From<&ListenError> for Failure {
    fn from(error: &ListenError) -> Self {
        let code = match error {
            ListenError::AddressInUse { .. } => WH_ERR_IN_USE,
            ListenError::Address(_) => WH_ERR_ADDRESS,
            ListenError::Scheme { .. } => WH_ERR_SCHEME,
            ListenError::Os { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                WH_ERR_ACCESS
            }
            ListenError::Unknown { .. } => WH_ERR_NOT_LISTENING,
            ListenError::Misuse { .. } => WH_ERR_VALUE,
            _ => WH_ERR_LISTEN,
        };
        Self::made(code, error.to_string())
    }
}

/// What the worker's functions return for callbacks to pass on.
impl From<workhive::Error> for Failure {
    fn from(error: workhive::Error) -> Self {
        if let Some(error) = error.downcast_ref::<SendError>() {
            return (*error).into();
        }
        if let Some(error) = error.downcast_ref::<RouteError>() {
            return (*error).into();
        }
        if let Some(error) = error.downcast_ref::<ListenError>() {
            return error.into();
        }
        if let Some(error) = error.downcast_ref::<BlockingError>() {
            return error.clone().into();
        }
        Self::made(WH_ERR_SYSTEM, error.to_string())
    }
}

//! Why the server of the shared window cannot be used.
//!
//! The texts of the server are not passed on: a server that does not know a command repeats it with its
//! arguments, and one of them can be the password.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::Skip;
use crate::telemetry::Shown;

/// Why the server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("it does not answer in time")]
    Silent,
    #[error("the connection broke")]
    Broken,
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no TLS connection: {0}")]
    Tls(String),
    #[error("it refuses with {code}: {meaning}")]
    Refused { code: String, meaning: &'static str },
    #[error("what it answers is not understood")]
    Unexpected,
}

impl ServerError {
    pub(super) fn of_login(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Self::Refused { code: "AUTH".into(), meaning: "user or password are wrong, or not wanted" }
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) => Self::Refused {
                code: "SELECT".into(),
                meaning: "it has no such database, or the user may not choose one",
            },
            _ => Self::of(error),
        }
    }

    /// The same for who waited for an answer.
    pub(super) fn skip(&self) -> Skip {
        match self {
            Self::Silent => Skip::Timeout,
            _ => Skip::Error,
        }
    }

    /// What an answer to one command stands for, if it is a refusal.
    pub(super) fn of_answer(answer: &Value) -> Option<Self> {
        match answer {
            Value::ServerError(error) => Some(Self::refused(error.code())),
            _ => None,
        }
    }

    pub(super) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::refused(code),
            None if error.is_timeout() => Self::Silent,
            None if error.is_io_error() => Self::Broken,
            None => Self::Unexpected,
        }
    }

    fn refused(code: &str) -> Self {
        let meaning = match code {
            "ERR" => "`SET … NX GET` needs Redis 7.0 or later, or Valkey",
            "NOAUTH" => "the URL needs a password",
            "NOPERM" => "the user may not use SET, GET, EVAL and DEL on keys that begin with the prefix",
            "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" | "TRYAGAIN" => {
                "this is a cluster; name a server that keeps all keys"
            }
            "READONLY" | "MASTERDOWN" => "this is a read-only replica; name the primary",
            "OOM" => "its memory is full; raise it, or let it evict keys",
            "LOADING" => "it is starting",
            "WRONGTYPE" => "somebody else keeps keys under this prefix",
            _ => "see its own log",
        };
        Self::Refused { code: Shown(code).to_string(), meaning }
    }
}

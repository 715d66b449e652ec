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
    #[error("the server does not answer in time")]
    Silent,
    #[error("the connection broke")]
    Broken,
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no TLS connection: {0}")]
    Tls(String),
    #[error("the server refuses with {code}: {meaning}")]
    Refused { code: String, meaning: &'static str },
    #[error("the server's answer is not understood: expected a Redis or Valkey server")]
    Unexpected,
}

impl ServerError {
    pub(super) fn of_login(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Refused {
                code: "AUTH".into(),
                meaning: "the user or password is wrong, or not expected",
            },
            ErrorKind::Server(ServerErrorKind::ResponseError) => Self::Refused {
                code: "SELECT".into(),
                meaning: "the server has no such database, or the user may not choose one",
            },
            _ => Self::of(error),
        }
    }

    /// The reason for which appends that waited for an answer go on without it.
    pub(super) fn skip(&self) -> Skip {
        match self {
            Self::Silent => Skip::Timeout,
            _ => Skip::Error,
        }
    }

    /// The error in an answer to one command, if it is one.
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
            "OOM" => "the server's memory is full; raise it, or let the server evict keys",
            "LOADING" => "the server is starting",
            "WRONGTYPE" => "another program has keys with this prefix",
            _ => "see the server's own log",
        };
        Self::Refused { code: Shown(code).to_string(), meaning }
    }
}

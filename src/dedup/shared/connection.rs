//! The connection to the server: how it is made, probed and used.
//!
//! The bridge makes TCP and TLS connections itself and leaves the protocol to the client library: so the
//! cryptography, the authorities and the options of the socket are those of the whole bridge. The server's
//! error texts are not passed on: a server that does not know a command repeats it with its arguments, and
//! one of them can be the password.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, ServerErrorKind, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::Skip;
use super::commands::{CommandBatch, KeyNames};
use super::server::Server;
use crate::telemetry::Shown;
use crate::trust;

/// How long the first round, the probe, can take; no event waits for it.
const PROBE_MAX: Duration = Duration::from_millis(500);

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
    fn of_login(error: &RedisError) -> Self {
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

    fn of(error: &RedisError) -> Self {
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

/// A connection that was usable when it was made. Dropping it closes it.
pub(super) struct Connection {
    connection: MultiplexedConnection,
    driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// A pipe over the connection, on which a round can take as long as `patience`. Several pipes share it.
    pub(super) fn pipe(&self, patience: Duration) -> Pipe {
        Pipe { connection: self.connection.clone(), patience }
    }

    /// Resolves when the connection has ended.
    pub(super) async fn gone(&mut self) {
        // The connection has ended, with or without an error.
        let _ = (&mut self.driver).await;
    }
}

/// One user's end of a connection: it sends one round at a time.
pub(super) struct Pipe {
    connection: MultiplexedConnection,
    patience: Duration,
}

impl Pipe {
    /// Sends the commands of a round and returns the answer to each of them.
    pub(super) async fn ask(&mut self, round: &CommandBatch<'_>) -> Result<Vec<Value>, ServerError> {
        let count = round.commands.len();
        let asking = self.connection.send_packed_commands(&round.commands, 0, count);
        let answers = timeout(self.patience, asking).await.map_err(|_| ServerError::Silent)?;
        let answers = answers.map_err(|error| ServerError::of(&error))?;
        if answers.len() == count { Ok(answers) } else { Err(ServerError::Unexpected) }
    }
}

/// Makes connections to one server.
pub(super) struct Dialler {
    server: Server,
    tls: Option<TlsConnector>,
}

impl Dialler {
    pub(super) fn new(server: Server) -> Self {
        Self { server, tls: None }
    }

    /// Connects, logs in, and tries the command that makes a claim.
    pub(super) async fn dial(&mut self, keys: &KeyNames) -> Result<Connection, ServerError> {
        let Server { host, port, tls, .. } = &self.server;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(ServerError::Connect)?;
        // A round is one small write, and an append waits for its answer.
        stream.set_nodelay(true).map_err(ServerError::Connect)?;
        let link = if *tls {
            let name =
                ServerName::try_from(host.clone()).map_err(|error| ServerError::Tls(error.to_string()))?;
            let connected = self.connector().await?.connect(name, stream).await;
            self.log_in(connected.map_err(|error| ServerError::Tls(error.to_string()))?).await?
        } else {
            self.log_in(stream).await?
        };
        let mut round = CommandBatch::new(keys, 1);
        round.probe();
        let answers = link.pipe(PROBE_MAX).ask(&round).await?;
        keys.holder(answers.first().unwrap_or(&Value::Nil))?;
        Ok(link)
    }

    async fn log_in<S>(&self, stream: S) -> Result<Connection, ServerError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Each pipe has a time-out of its own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&self.server.login, stream, config).await;
        let (connection, driver) = made.map_err(|error| ServerError::of_login(&error))?;
        Ok(Connection { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
    }

    /// The TLS connector, which trusts the system's authorities. They are read once.
    async fn connector(&mut self) -> Result<TlsConnector, ServerError> {
        if let Some(connector) = &self.tls {
            return Ok(connector.clone());
        }
        let read = tokio::task::spawn_blocking(trust::system_authorities).await;
        let authorities = read.ok().filter(|authorities| !authorities.is_empty());
        let none = || ServerError::Tls("this system has no certificates of authorities".into());
        let config = trust::client(authorities.ok_or_else(none)?);
        let config = config.map_err(|error| ServerError::Tls(error.to_string()))?;
        Ok(self.tls.insert(TlsConnector::from(Arc::new(config))).clone())
    }
}

//! The connection to the server: made, tried, used.
//!
//! TCP and TLS are ours, the protocol is the client's: so the cryptography, the authorities and the
//! options of the socket are the same as everywhere else here. The server's texts are not passed
//! on: one that does not know a command repeats it with its arguments, and one of them may be the
//! password.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::commands::{CommandBatch, KeyNames};
use super::error::ServerError;
use super::server::Server;
use crate::trust;

/// How long a first round may take: no event waits for it.
const PROBE_MAX: Duration = Duration::from_millis(500);

/// A connection that was usable when it was made. Dropping it closes it.
pub(super) struct Connection {
    connection: MultiplexedConnection,
    driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// A way to use the connection beside others, on which a round may take this long.
    pub(super) fn line(&self, patience: Duration) -> Pipe {
        Pipe { connection: self.connection.clone(), patience }
    }

    /// Resolves when the connection is gone.
    pub(super) async fn gone(&mut self) {
        // However it ended, it has.
        let _ = (&mut self.driver).await;
    }
}

/// One of the ways to use a connection: one round at a time.
pub(super) struct Pipe {
    connection: MultiplexedConnection,
    patience: Duration,
}

impl Pipe {
    /// Sends all of a round and returns an answer for each of its commands.
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

    /// Connects, logs in, and tries the command that everything rests on.
    pub(super) async fn dial(&mut self, keys: &KeyNames) -> Result<Connection, ServerError> {
        let Server { host, port, tls, .. } = &self.server;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(ServerError::Connect)?;
        // A round is one small write that is waited for.
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
        let answers = link.line(PROBE_MAX).ask(&round).await?;
        keys.holder(answers.first().unwrap_or(&Value::Nil))?;
        Ok(link)
    }

    async fn log_in<S>(&self, stream: S) -> Result<Connection, ServerError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Each line keeps the time.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&self.server.login, stream, config).await;
        let (connection, driver) = made.map_err(|error| ServerError::of_login(&error))?;
        Ok(Connection { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
    }

    /// Trusts the system's authorities, read once.
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

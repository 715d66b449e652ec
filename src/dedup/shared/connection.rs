//! The connection to the server: how it is made, probed and used.
//!
//! The bridge makes TCP and TLS connections itself and leaves the protocol to the client library: so the
//! cryptography, the authorities and the options of the socket are those of the whole bridge. It also decides
//! itself when a connection has failed: the library's `ConnectionManager` keeps one whose server is silent or
//! has become a read-only replica, and lets a command wait while it connects again.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::commands::{CommandBatch, KeyNames};
use super::error::ServerError;
use super::server::Server;
use crate::trust;

/// How long the first round, the probe, can take; no event waits for it.
const PROBE_MAX: Duration = Duration::from_millis(500);

/// A connection that was usable when it was made. Dropping it closes it.
pub(super) struct Connection {
    connection: MultiplexedConnection,
    driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// A pipe over the connection, on which a round can take as long as `patience`. Several pipes share it.
    pub(super) fn pipe(&self, patience: Duration) -> Pipe {
        let mut connection = self.connection.clone();
        connection.set_response_timeout(patience);
        Pipe(connection)
    }

    /// Resolves when the connection has ended.
    pub(super) async fn gone(&mut self) {
        // The connection has ended, with or without an error.
        let _ = (&mut self.driver).await;
    }
}

/// One user's end of a connection: it sends one round at a time.
pub(super) struct Pipe(MultiplexedConnection);

impl Pipe {
    /// Sends the commands of a round and returns the answer to each of them.
    pub(super) async fn ask(&mut self, round: &CommandBatch<'_>) -> Result<Vec<Value>, ServerError> {
        let count = round.commands.len();
        let answers = self.0.send_packed_commands(&round.commands, 0, count).await;
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

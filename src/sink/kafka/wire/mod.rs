//! The few questions of an administrator that librdkafka's admin client cannot ask with an OAuth token,
//! because that client never asks for one: which topics have which property, and the creation of topics.
//!
//! A connection speaks the Kafka protocol itself, in versions that brokers from 2.4 to 4 have. It is for
//! commands only; whatever takes too long is cut off by whoever asks.

mod codec;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::codec::{BrokerAnswer, BrokerQuestion};
pub(super) use self::codec::{NewTopics, TopicResult};
use super::KafkaOptions;
use crate::telemetry::Shown;
use crate::trust;

/// Largest answer in bytes: thousands of topics fit.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How long one broker can take to be connected to, so that there is time for another.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to one broker, which has taken the token.
pub(super) struct BrokerConnection {
    stream: Box<dyn Stream>,
    correlation: i32,
}

impl BrokerConnection {
    /// Connects to the first of the brokers that answers, and then to the controller that it names.
    pub async fn to_controller(options: &KafkaOptions, token: &OAuthToken) -> Result<Self, String> {
        let mut first = Self::to_any(options, token).await?;
        let answer = first.ask(&BrokerQuestion::Controller).await?;
        let BrokerAnswer::Controller(controller) = answer else { return Err(codec::garbled()) };
        match controller {
            Some((host, port)) => Self::connect(options, &host, port, token).await,
            None => Err("the cluster has no controller now: try again".into()),
        }
    }

    /// Connects to the first of the brokers that answers.
    pub async fn to_any(options: &KafkaOptions, token: &OAuthToken) -> Result<Self, String> {
        let mut problem = "there is no broker".to_owned();
        for (host, port) in options.broker_addresses() {
            let connecting = Self::connect(options, &host, port, token);
            match tokio::time::timeout(CONNECTED_WITHIN, connecting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => problem = error,
                Err(_) => problem = format!("{host}:{port}: no answer"),
            }
        }
        Err(problem)
    }

    async fn connect(
        options: &KafkaOptions,
        host: &str,
        port: u16,
        token: &OAuthToken,
    ) -> Result<Self, String> {
        let told = |error: io::Error| format!("{host}:{port}: {error}");
        let tcp = TcpStream::connect((host, port)).await.map_err(told)?;
        let stream: Box<dyn Stream> = match tls(options)? {
            None => Box::new(tcp),
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| format!("`{host}` is no name that a certificate can have"))?;
                let connected = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await;
                Box::new(connected.map_err(told)?)
            }
        };
        let mut connection = Self { stream, correlation: 0 };
        connection.authenticate(token).await.map_err(|error| format!("{host}:{port}: {error}"))?;
        Ok(connection)
    }

    async fn authenticate(&mut self, token: &OAuthToken) -> Result<(), String> {
        match self.ask(&BrokerQuestion::Handshake).await? {
            BrokerAnswer::Done(Ok(())) => {}
            BrokerAnswer::Done(Err(_)) => return Err("this listener takes no OAuth token".into()),
            _ => return Err(codec::garbled()),
        }
        match self.ask(&BrokerQuestion::Authenticate(&token.token)).await? {
            BrokerAnswer::Done(Ok(())) => Ok(()),
            BrokerAnswer::Done(Err(said)) => Err(format!("the broker refuses the token: {}", Shown(&said))),
            _ => Err(codec::garbled()),
        }
    }

    /// Creates topics; what became of each.
    pub async fn create(&mut self, topics: &NewTopics<'_>) -> Result<Vec<TopicResult>, String> {
        match self.ask(&BrokerQuestion::Create(topics)).await? {
            BrokerAnswer::Created(results) => Ok(results),
            _ => Err(codec::garbled()),
        }
    }

    /// The value of a property of these topics; leaves out those that may not be read.
    pub async fn property(
        &mut self,
        topics: &[&str],
        name: &str,
    ) -> Result<BTreeMap<String, String>, String> {
        match self.ask(&BrokerQuestion::Property(topics, name)).await? {
            BrokerAnswer::Properties(values) => Ok(values),
            _ => Err(codec::garbled()),
        }
    }

    async fn ask(&mut self, question: &BrokerQuestion<'_>) -> Result<BrokerAnswer, String> {
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the broker closes the connection: look at `tls`, and at the port".to_owned()
            }
            _ => error.to_string(),
        };
        self.correlation += 1;
        self.stream.write_all(&question.encoded(self.correlation)).await.map_err(told)?;
        self.stream.flush().await.map_err(told)?;
        let length = self.stream.read_u32().await.map_err(told)? as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(codec::garbled());
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await.map_err(told)?;
        question.decoded(&answer, self.correlation).ok_or_else(codec::garbled)
    }
}

/// How the brokers are verified, if they are reached by TLS.
fn tls(options: &KafkaOptions) -> Result<Option<ClientConfig>, String> {
    if !options.is_tls() {
        return Ok(None);
    }
    if options.certificate().is_some() {
        return Err("a token and a client's certificate cannot be shown both by this command".into());
    }
    let authorities = match options.authorities() {
        None => trust::system_authorities(),
        Some(file) => {
            let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            let mut authorities = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| unusable(&error))? {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                authorities.add(certificate).map_err(|error| unusable(&error))?;
            }
            authorities
        }
    };
    trust::client(authorities).map(Some).map_err(|error| error.to_string())
}

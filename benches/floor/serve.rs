//! The bridge's own HTTP stack and signature check, with nothing behind them but, if asked for, a
//! plain file.

use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clap::Args;
use fanbridge::event::{Delivery, Timestamp};
use fanbridge::provider::{BodyLimits, Definition, Receipt, SigningSecret, builtin_named, verify};
use fanbridge::source::http::connections::Connections;
use fanbridge::source::http::{Limits, TlsOptions, serve, tls};
use fanbridge::telemetry::Metrics;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::append::Append;

/// As long as what the bridge answers.
const ANSWER: &str = r#"{"verdict":"accepted","id":"sha256-0000000000000000000000000000000000000000000000000000000000000000"}"#;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const BODY: BodyLimits = BodyLimits { inflated_bytes_max: 16 << 20, inflate_ratio_max: 100 };

/// More than any load opens.
const CONNECTIONS_MAX: usize = 65_536;
/// Connections that the system queues, as for the bridge.
const BACKLOG: u32 = 4096;

/// The bridge's own TLS, if it is asked for.
#[derive(Args)]
pub struct Tls {
    /// The certificate, as a PEM file.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

impl Tls {
    fn load(&self) -> anyhow::Result<Option<tls::Tls>> {
        let files = self.certificate.clone().zip(self.key.clone());
        let load = |(certificate, key)| tls::Tls::load(&TlsOptions { certificate, key });
        Ok(files.map(load).transpose()?)
    }
}

struct Front {
    definition: Arc<Definition>,
    secrets: Vec<SigningSecret>,
    append: Option<Append>,
}

/// Listens, prints where, and serves until it is killed.
///
/// # Errors
/// When it cannot listen, or the secret is none.
pub async fn run(listen: SocketAddr, tls: &Tls, secret: &str, append: Option<Append>) -> anyhow::Result<()> {
    let definition = builtin_named("stream").ok_or_else(|| anyhow::anyhow!("stream is not built in"))?;
    let secrets = vec![SigningSecret::parse(secret, definition.secret_form(), None, None)?];
    let front = Arc::new(Front { definition, secrets, append });
    // As the bridge does it: no router on a delivery's way.
    let service = tower::service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.receive(request).await) }
    });
    let listener = listening(listen)?;
    println!("{}", listener.local_addr()?);
    let connections = Connections::new("http", &Metrics::new());
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        connections_per_address_max: CONNECTIONS_MAX,
        ..Limits::default()
    };
    serve(listener, tls.load()?, limits, DRAIN_TIMEOUT, connections, service, CancellationToken::new()).await;
    Ok(())
}

/// Listens as the bridge does: a thousand connections that come at once wait in the system's queue.
fn listening(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Front {
    async fn receive(&self, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
        let (body, arrived) = (body.to_bytes(), Timestamp::from(SystemTime::now()));
        let delivery = Delivery { headers: &head.headers, body, arrived };
        let Ok(Receipt::Verified(verified)) = verify(&self.definition, &self.secrets, delivery, &BODY) else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        if let Some(append) = &self.append
            && append.append(verified.body).await.is_none()
        {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        ([(header::CONTENT_TYPE, "application/json")], ANSWER).into_response()
    }
}

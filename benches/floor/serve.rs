//! The bridge's own HTTP stack and signature check, with nothing behind them but, if asked for, a
//! plain file.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fanbridge::event::{Delivery, Timestamp};
use fanbridge::provider::{BodyLimits, Definition, Receipt, SigningSecret, builtin_named, verify};
use fanbridge::source::connections::Connections;
use fanbridge::source::http::{HttpLimits, serve};
use fanbridge::telemetry::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::append::Append;

/// As long as what the bridge answers.
const ANSWER: &str = r#"{"verdict":"accepted","id":"sha256-0000000000000000000000000000000000000000000000000000000000000000"}"#;
const HTTP: HttpLimits = HttpLimits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    connections_max: 4096,
    connections_per_address_max: 4096,
    drain_timeout: Duration::from_secs(1),
};
const BODY: BodyLimits = BodyLimits { inflated_bytes_max: 16 << 20, inflate_ratio_max: 100 };

struct Front {
    definition: Arc<Definition>,
    secrets: Vec<SigningSecret>,
    append: Option<Append>,
}

/// Listens, prints where, and serves until it is killed.
///
/// # Errors
/// When it cannot listen, or the secret is none.
pub async fn run(listen: SocketAddr, secret: &str, append: Option<Append>) -> anyhow::Result<()> {
    let definition = builtin_named("stream").ok_or_else(|| anyhow::anyhow!("stream is not built in"))?;
    let secrets = vec![SigningSecret::parse(secret, &definition, None, None)?];
    let front = Arc::new(Front { definition, secrets, append });
    let router = Router::new().route("/in/bench", post(receive)).with_state(front);
    let listener = TcpListener::bind(listen).await?;
    println!("{}", listener.local_addr()?);
    let connections = Connections::new("http", &Metrics::new());
    serve(listener, None, HTTP, connections, router, CancellationToken::new()).await;
    Ok(())
}

async fn receive(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let delivery = Delivery { headers, body, arrived: Timestamp::from(SystemTime::now()) };
    let Ok(Receipt::Verified(verified)) = verify(&front.definition, &front.secrets, delivery, &BODY) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    if let Some(append) = &front.append
        && append.append(verified.body).await.is_none()
    {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], ANSWER).into_response()
}

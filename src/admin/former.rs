//! The former routes of the API, which say in each answer that they are deprecated and what takes their place
//! (RFC 9745, RFC 5829).
//!
//! Each has a successor below `/api/v1` under the same name. A refusal by the rules of access says nothing of
//! that.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderValue;
use http::header::LINK;

use super::{AdminState, dead, status, types};

/// Since when the routes are deprecated: 2026-11-30, in seconds since the Unix epoch behind an `@`.
const DEPRECATED: &str = "@1795996800";

pub(super) fn router() -> Router<AdminState> {
    Router::new()
        .route("/api/status", get(status::status))
        .route("/api/types", get(types::types))
        .route("/api/dead", get(dead::list))
        .route("/api/dead/{id}", get(dead::show))
        .route("/api/dead/export", get(dead::export))
        .route("/api/dead/redrive", post(dead::redrive))
        .route("/api/dead/drop", post(dead::drop))
        .route_layer(from_fn(deprecated))
}

async fn deprecated(request: Request, next: Next) -> Response {
    let successor = successor(request.uri().path());
    let mut response = next.run(request).await;
    response.headers_mut().insert("deprecation", HeaderValue::from_static(DEPRECATED));
    if let Some(successor) = successor {
        response.headers_mut().insert(LINK, successor);
    }
    response
}

/// The link to what takes the place of a path; `None` if the path cannot stand in a link.
fn successor(path: &str) -> Option<HeaderValue> {
    let rest = path.strip_prefix("/api").filter(|rest| !rest.contains(['<', '>']))?;
    HeaderValue::from_str(&format!("</api/v1{rest}>; rel=\"successor-version\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_path_leads_to_its_successor_and_nowhere_else() {
        let link = |path: &str| successor(path).and_then(|link| link.to_str().map(str::to_owned).ok());
        assert_eq!(link("/api/dead/7").as_deref(), Some("</api/v1/dead/7>; rel=\"successor-version\""));
        for path in ["/api/dead/>; rel=x", "/api/a\nb", "/elsewhere"] {
            assert_eq!(link(path), None, "{path}");
        }
    }
}

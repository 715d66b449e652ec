//! The admin page: one page of plain modules, embedded in the binary as they are written.
//!
//! It carries no data, so it is answered without a token, as long as the host is known; what it shows it asks
//! of the API like everybody else. Its policy lets it load from this origin only, run no code that is
//! written into it, and make no element of text.

use std::io::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, Method, StatusCode, Uri};
use sha2::{Digest, Sha256};

use super::{AdminState, ProblemAnswer};
use crate::problem::ProblemCode;

/// What the page is allowed to do in a browser.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Where the files of the page are.
const BELOW: &str = "/page/";

const HTML: &str = "text/html; charset=utf-8";
const CODE: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! files {
    ($($path:literal $kind:ident),+ $(,)?) => {
        /// Each file by its name, with its kind and its bytes.
        const FILES: &[(&str, &str, &[u8])] = &[$(($path, $kind, include_bytes!($path))),+];
    };
}

files! {
    "index.html" HTML,
    "icon.svg" IMAGE,
    "style.css" STYLE,
    "theme.js" CODE,
    "api.js" CODE,
    "app.js" CODE,
    "configuration.js" CODE,
    "dead.js" CODE,
    "detail.js" CODE,
    "dom.js" CODE,
    "event_cells.js" CODE,
    "event_rows.js" CODE,
    "events.js" CODE,
    "flow.js" CODE,
    "flow_layout.js" CODE,
    "format.js" CODE,
    "grid.js" CODE,
    "history.js" CODE,
    "live.js" CODE,
    "metrics.js" CODE,
    "plot.js" CODE,
    "replays.js" CODE,
    "sinks.js" CODE,
    "sources.js" CODE,
    "spool.js" CODE,
    "status.js" CODE,
    "types.js" CODE,
    "watched.js" CODE,
    "vendor/uPlot.LICENSE" TEXT,
    "vendor/uPlot.iife.min.js" CODE,
    "vendor/uPlot.min.css" STYLE,
}

/// A file as it is answered.
struct EmbeddedFile {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    /// Compressed, if that makes it smaller.
    gzip: Option<Bytes>,
    etag: String,
}

static EMBEDDED: LazyLock<Vec<EmbeddedFile>> = LazyLock::new(|| {
    let embed = |&(name, kind, plain): &(&'static str, &'static str, &'static [u8])| {
        let gzip = compressed(plain).filter(|gzip| gzip.len() < plain.len());
        // Weak, because both encodings of a file have it.
        let etag = format!("W/\"{}\"", hex::encode(&Sha256::digest(plain)[..12]));
        EmbeddedFile { name, kind, plain, gzip, etag }
    };
    FILES.iter().map(embed).collect()
});

fn compressed(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The routes of the page.
pub(super) fn router() -> Router<AdminState> {
    Router::new().route("/", get(file)).route("/page/{*path}", get(file))
}

/// Whether a request is for the page itself, which nobody needs a token for.
pub(super) fn is_asked_for(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && (path == "/" || path.starts_with(BELOW))
}

async fn file(uri: Uri, headers: HeaderMap) -> Result<Response, ProblemAnswer> {
    let name = match uri.path() {
        "/" => "index.html",
        path => path.strip_prefix(BELOW).unwrap_or_default(),
    };
    let found = EMBEDDED.iter().find(|file| file.name == name);
    let file =
        found.ok_or_else(|| ProblemAnswer::of(ProblemCode::NotFound, "the page has no file of this name"))?;
    let always = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (ETAG, file.etag.as_str()),
        (VARY, "accept-encoding"),
    ];
    if lists(&headers, &IF_NONE_MATCH, |known| known == file.etag || known == "*") {
        return Ok((StatusCode::NOT_MODIFIED, always).into_response());
    }
    let kind = [(CONTENT_TYPE, file.kind)];
    let takes_gzip = lists(&headers, &ACCEPT_ENCODING, takes_gzip);
    Ok(match file.gzip.clone().filter(|_| takes_gzip) {
        Some(gzip) => (always, kind, [(CONTENT_ENCODING, "gzip")], gzip).into_response(),
        None => (always, kind, Bytes::from_static(file.plain)).into_response(),
    })
}

/// Whether a part of a header with a list is what is looked for.
fn lists(headers: &HeaderMap, name: &http::HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| wanted(part.trim()))
}

/// Whether a part of `accept-encoding` takes gzip: `gzip`, `gzip;q=0.5`, and not `gzip;q=0`.
fn takes_gzip(part: &str) -> bool {
    let (coding, parameters) = part.split_once(';').unwrap_or((part, ""));
    let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), |quality| quality.trim().parse());
    coding.trim().eq_ignore_ascii_case("gzip") && quality.is_ok_and(|quality: f32| quality > 0.0)
}

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use http_body_util::BodyExt;

use super::*;

/// Most bytes of the whole page as a browser fetches it.
const COMPRESSED_MAX: usize = 120 << 10;

async fn answer(path: &str, headers: &[(http::HeaderName, &'static str)]) -> (StatusCode, HeaderMap, Bytes) {
    let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    let uri = path.parse().expect("a path");
    let response = file(uri, headers.collect()).await.unwrap_or_else(IntoResponse::into_response);
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body in memory").to_bytes();
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn the_page_is_served_under_its_policy_and_compressed_to_who_takes_it() {
    let (status, headers, plain) = answer("/", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(plain.starts_with(b"<!doctype html>"));
    assert!(!headers.contains_key(CONTENT_ENCODING));
    let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("text");
    for rule in ["default-src 'none'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{rule} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let (_, headers, gzip) = answer("/", &[(ACCEPT_ENCODING, "br, gzip;q=0.8")]).await;
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    assert!(gzip.starts_with(&[0x1f, 0x8b]) && gzip.len() < plain.len());
    let (_, headers, _) = answer("/", &[(ACCEPT_ENCODING, "gzip;q=0, identity")]).await;
    assert!(!headers.contains_key(CONTENT_ENCODING));
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_told_so() {
    let (_, headers, _) = answer("/page/app.js", &[]).await;
    let etag: &'static str = headers[ETAG].to_str().expect("text").to_owned().leak();
    let (status, headers, body) = answer("/page/app.js", &[(IF_NONE_MATCH, etag)]).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(headers[ETAG].to_str().expect("text"), etag);
    let (status, ..) = answer("/page/app.js", &[(IF_NONE_MATCH, "W/\"another\"")]).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_file_of_the_page_is_not_found() {
    for path in ["/page/", "/page/mod.rs", "/page/../mod.rs", "/page/vendor/", "/page/%2e%2e/app.js"] {
        assert_eq!(answer(path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn every_file_of_the_page_is_embedded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
    let mut there = BTreeSet::new();
    for path in files_below(&dir) {
        let name = path.strip_prefix(&dir).expect("below it").to_string_lossy().into_owned();
        if !name.ends_with(".rs") {
            there.insert(name);
        }
    }
    let embedded: BTreeSet<_> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(embedded, there);
}

#[test]
fn the_page_is_small() {
    let size: usize =
        EMBEDDED.iter().map(|file| file.gzip.as_ref().map_or(file.plain.len(), Bytes::len)).sum();
    assert!(size < COMPRESSED_MAX, "the page has {size} bytes compressed, expected at most {COMPRESSED_MAX}");
}

#[test]
fn no_code_of_the_page_makes_elements_of_text_or_asks_another_origin() {
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "javascript:",
        "setAttribute(\"style\"",
        "setHTMLUnsafe",
        "srcdoc",
        "http:",
        "https:",
        "EventSource",
    ];
    for (name, kind, bytes) in FILES.iter().filter(|(name, ..)| !name.starts_with("vendor/")) {
        let text = str::from_utf8(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The names of the drawing's language are no addresses.
        let text = text.replace("http://www.w3.org/2000/svg", "").replace("an `EventSource` can", "");
        for word in forbidden {
            assert!(!text.contains(word), "{name} ({kind}) has {word}");
        }
        for (number, line) in text.lines().enumerate() {
            let length = line.chars().count();
            assert!(length <= 110, "{name}:{} has {length} characters, expected at most 110", number + 1);
        }
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

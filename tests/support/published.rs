//! What SNS took, in the order in which it was asked: what a standard topic's subscribers get is
//! in no order.

use super::proxy::Proxy;
use super::proxy::call::{Call, Entry};

/// The messages that the service behind a proxy said it has, of one topic.
pub fn published(proxy: &Proxy, topic: &str) -> Vec<Entry> {
    let calls = proxy.calls("PublishBatch").into_iter().filter(|call| call.resource == topic);
    calls.flat_map(|call| taken(&call)).collect()
}

/// The entries of a batch that its answer names as taken.
pub fn taken(call: &Call) -> Vec<Entry> {
    let body = call.answer.as_ref().map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
    let body = body.unwrap_or_default();
    let successful = between(&body, "<Successful>", "</Successful>");
    let is_taken = |entry: &&Entry| successful.contains(&format!("<Id>{}</Id>", entry.id));
    call.entries.iter().filter(is_taken).cloned().collect()
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(inner, _)| inner)
}

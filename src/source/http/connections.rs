//! What is counted about a listener's connections: those that never got as far as a source, and so
//! appear in no source's numbers.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::{Listener, ListenerReason, LogLimit, Metrics};

/// One listener's connections.
#[derive(Debug)]
pub struct Connections {
    listener: &'static str,
    open: Gauge,
    refused: Family<ListenerReason, Counter>,
    log_limit: LogLimit,
}

/// An open connection; counted until dropped.
pub(in crate::source) struct Open(Arc<Connections>);

impl Connections {
    /// The numbers of the listener with this name.
    pub fn new(listener: &'static str, metrics: &Metrics) -> Arc<Self> {
        let open = metrics.connections.get_or_create_owned(&Listener { listener: listener.into() });
        let refused = metrics.connections_refused.clone();
        Arc::new(Self { listener, open, refused, log_limit: LogLimit::default() })
    }

    pub(in crate::source) fn open(self: &Arc<Self>) -> Open {
        self.open.inc();
        Open(Arc::clone(self))
    }

    /// An address has all the connections it may have, and asked for one more. Behind a proxy all
    /// providers are one address, so this is worth a line.
    pub(in crate::source) fn address_is_full(&self) {
        self.count("address_full");
        if let Some(unsaid) = self.log_limit.admit("address_full") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "connection closed: its address has `connections_per_address_max` already"
            );
        }
    }

    /// Strangers have all the connections they may have, and none of them can be done without.
    pub(in crate::source) fn strangers_are_full(&self) {
        self.count("strangers_full");
        if let Some(unsaid) = self.log_limit.admit("strangers_full") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "connection closed: networks that were not authentic lately have their part of `connections_max` already"
            );
        }
    }

    /// A connection that waited for its peer was closed to make room for another.
    pub(in crate::source) fn displaced(&self) {
        self.count("displaced");
        if let Some(unsaid) = self.log_limit.admit("displaced") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "connections are short: an idle one that was granted nothing yet made room for another"
            );
        }
    }

    /// All connections are taken, and the next has to wait.
    pub(in crate::source) fn all_taken(&self) {
        if let Some(unsaid) = self.log_limit.admit("all_taken") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "`connections_max` connections are open: more have to wait"
            );
        }
    }

    /// The peer and this listener could not agree on a way to encrypt.
    pub(in crate::source) fn handshake_failed(&self, error: &std::io::Error) {
        self.count("tls_handshake");
        tracing::debug!(%error, "tls handshake failed");
    }

    /// A connection ended with an error: what the parser itself refused, with a 400 or a 431, is
    /// counted; a peer that just went away is not.
    pub(in crate::source) fn broke(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.count("head_too_large");
        } else if error.is_parse() {
            self.count("not_http");
        }
        tracing::debug!(%error, "connection ended early");
    }

    /// The length of a request's body is stated in two ways.
    pub(in crate::source) fn ambiguous_length(&self) {
        self.count("ambiguous_length");
        tracing::debug!("refused a request whose length is stated in two ways");
    }

    /// A request's head says something that others may read otherwise.
    pub(in crate::source) fn bad_head(&self, reason: &str) {
        self.count(reason);
        tracing::debug!(reason, "refused a request for what its head says");
    }

    fn count(&self, reason: &str) {
        let labels = ListenerReason { listener: self.listener.into(), reason: reason.into() };
        self.refused.get_or_create(&labels).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

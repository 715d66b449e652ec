//! The metrics and log lines of one listener's connections. They cover the connections and requests
//! that never reach a source and so appear in no source's metrics.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::{Listener, ListenerReason, LogLimit, Metrics};

/// The metrics of one listener's connections.
#[derive(Debug)]
pub struct Connections {
    listener: &'static str,
    open: Gauge,
    refused: Family<ListenerReason, Counter>,
    log_limit: LogLimit,
}

/// Counts an open connection until it is dropped.
pub(in crate::source) struct Open(Arc<Connections>);

impl Connections {
    /// The metrics of the listener with this name: `http` or `admin`.
    pub fn new(listener: &'static str, metrics: &Metrics) -> Arc<Self> {
        let open = metrics.connections.get_or_create_owned(&Listener { listener: listener.into() });
        let refused = metrics.connections_refused.clone();
        Arc::new(Self { listener, open, refused, log_limit: LogLimit::default() })
    }

    pub(in crate::source) fn open(self: &Arc<Self>) -> Open {
        self.open.inc();
        Open(Arc::clone(self))
    }

    /// Counts a connection that is closed because its address has as many as it can have. Behind a
    /// proxy all providers come from one address, so this also writes a log line.
    pub(in crate::source) fn address_is_full(&self) {
        self.count("address_full");
        if let Some(unsaid) = self.log_limit.admit("address_full") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "connection closed at once: its address already has `connections_per_address_max` \
                 connections. If that address is a proxy, raise the limit"
            );
        }
    }

    /// Counts a stranger's connection that is closed because strangers have as many as they can have,
    /// and none of those is idle.
    pub(in crate::source) fn strangers_are_full(&self) {
        self.count("strangers_full");
        if let Some(unsaid) = self.log_limit.admit("strangers_full") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "connection closed at once: networks from which nothing authentic came within a day \
                 already have three quarters of `connections_max`, and none of those connections is idle"
            );
        }
    }

    /// Counts a connection that waited for its peer and was closed to make room for another.
    pub(in crate::source) fn displaced(&self) {
        self.count("displaced");
        if let Some(unsaid) = self.log_limit.admit("displaced") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "connection closed to make room for another: it waited for its peer, nothing authentic \
                 came on it within a day, and a limit on connections is reached"
            );
        }
    }

    /// Logs that `connections_max` connections are open, so that the next one has to wait.
    pub(in crate::source) fn all_taken(&self) {
        if let Some(unsaid) = self.log_limit.admit("all_taken") {
            tracing::warn!(
                listener = self.listener,
                unsaid,
                "`connections_max` connections are open and none can be closed: new connections wait \
                 until one ends"
            );
        }
    }

    /// Counts a TLS handshake that failed.
    pub(in crate::source) fn handshake_failed(&self, error: &std::io::Error) {
        self.count("tls_handshake");
        tracing::debug!(%error, "a peer's TLS handshake failed");
    }

    /// Notes that a connection ended with an error. A request that the parser refused with 400 or 431 is
    /// counted; a peer that went away is not.
    pub(in crate::source) fn broke(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.count("head_too_large");
        } else if error.is_parse() {
            self.count("not_http");
        }
        tracing::debug!(%error, "a connection ended with an error");
    }

    /// Counts a request that states the length of its body in two ways.
    pub(in crate::source) fn ambiguous_length(&self) {
        self.count("ambiguous_length");
        tracing::debug!("request refused with 400: it states the length of its body in two ways");
    }

    /// Counts a request whose head another HTTP reader could understand in another way.
    pub(in crate::source) fn bad_head(&self, reason: &str) {
        self.count(reason);
        tracing::debug!(reason, "request refused: another HTTP reader could understand its head differently");
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

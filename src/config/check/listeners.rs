//! The checks of both listeners, and of the limits of the public one.

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use super::{
    BODY_BYTES_LEAST, Check, IN_FLIGHT_BYTES_MOST, INFLATED_BYTES_MOST, PATIENCE_LONGEST, TOKEN_BYTES_MIN,
    in_memory, largest_body,
};
use crate::admin::AdminOptions;
use crate::config::file::{ConfigFile, HttpFile};
use crate::config::yaml::scalars::Size;
use crate::config::yaml::spans::Path;
use crate::source::http::{HttpOptions, TlsOptions};

impl Check<'_> {
    pub(in crate::config) fn http(&mut self, file: &ConfigFile) -> HttpOptions {
        let at = Path::default().key("limits");
        let (limits, file, largest) = (&file.limits, &file.http, largest_body(file));
        self.at_least(&at.key("body_bytes_max"), limits.body_bytes_max, BODY_BYTES_LEAST);
        self.at_least(&at.key("inflated_bytes_max"), limits.inflated_bytes_max, limits.body_bytes_max);
        self.at_most(&at.key("inflated_bytes_max"), limits.inflated_bytes_max, INFLATED_BYTES_MOST);
        // The largest body must fit into the memory for all bodies, or it is never accepted.
        self.at_least(&at.key("in_flight_bytes_max"), limits.in_flight_bytes_max, largest);
        self.at_most(&at.key("in_flight_bytes_max"), limits.in_flight_bytes_max, IN_FLIGHT_BYTES_MOST);
        self.at_most(&at.key("body_bytes_per_second_min"), limits.body_bytes_per_second_min, Size(1 << 30));
        for (key, period) in [
            ("header_timeout", limits.header_timeout),
            ("body_timeout", limits.body_timeout),
            ("idle_timeout", limits.idle_timeout),
            ("ack_timeout", limits.ack_timeout),
        ] {
            if period.0.is_zero() {
                self.error(
                    &at.key(key),
                    "zero duration",
                    format!("with `{key}: 0s` every request would time out"),
                );
            }
            self.no_longer_than(&at.key(key), period, PATIENCE_LONGEST);
        }
        HttpOptions {
            listen: file.listen.0,
            tls: self.tls(file),
            body_bytes_max: in_memory(limits.body_bytes_max),
            inflated_bytes_max: in_memory(limits.inflated_bytes_max),
            inflate_ratio_max: limits.inflate_ratio_max,
            header_timeout: limits.header_timeout.0,
            body_timeout: limits.body_timeout.0,
            body_bytes_per_second_min: in_memory(limits.body_bytes_per_second_min),
            idle_timeout: limits.idle_timeout.0,
            ack_timeout: limits.ack_timeout.0,
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            in_flight_bytes_max: in_memory(limits.in_flight_bytes_max),
            largest_body_bytes: in_memory(largest),
        }
    }

    fn tls(&mut self, file: &HttpFile) -> Option<TlsOptions> {
        let tls = file.tls.as_ref()?;
        let at = Path::default().key("http").key("tls");
        let certificate = self.readable(tls.certificate.as_deref()?, &at.key("certificate"));
        let key = self.readable(tls.key.as_deref()?, &at.key("key"));
        Some(TlsOptions { certificate: certificate?, key: key? })
    }

    pub(in crate::config) fn admin(&mut self, file: &ConfigFile) -> AdminOptions {
        let at = Path::default().key("admin");
        let listen = file.admin.listen.0;
        let token = file.admin.token.as_ref().and_then(|token| self.secret(token, &at.key("token")));
        if file.admin.token.is_none() && !listen.ip().is_loopback() && !self.places.has(&at.key("token")) {
            self.error(
                &at.key("listen"),
                "admin listener without a token",
                "whoever reaches this port from another machine could read and redrive events".into(),
            )
            .notes
            .push("add `token: env:NAME` under `admin`, or listen on 127.0.0.1".into());
        }
        if collide(listen, file.http.listen.0) {
            let public = file.http.listen.0;
            let label = format!("`http` listens on {public}; the admin listener needs another port");
            self.error(&at.key("listen"), "one address for two listeners", label);
        }
        if let Some(token) = &token {
            let length = token.expose_secret().len();
            if length < TOKEN_BYTES_MIN {
                let label = format!("the token has {length} bytes, expected at least {TOKEN_BYTES_MIN}");
                self.error(&at.key("token"), "token that can be guessed", label);
            }
        }
        AdminOptions { listen, token }
    }
}

/// Whether two listeners cannot both be bound. The unspecified address takes the port on all
/// addresses, and an IPv4 address can also be written in IPv6.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

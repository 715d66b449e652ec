//! The checks of both listeners, and of the limits of the public one.

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use super::{Check, in_memory, largest_body};
use crate::admin::AdminOptions;
use crate::admin::options::TOKEN_BYTES_MIN;
use crate::config::file::{ConfigFile, HttpFile};
use crate::config::yaml::scalars::Size;
use crate::config::yaml::spans::Path;
use crate::source::http::options::{
    ACK_TIMEOUT, BODY_BYTES_MAX, BODY_BYTES_PER_SECOND_MIN, BODY_TIMEOUT, HEADER_TIMEOUT, IDLE_TIMEOUT,
    IN_FLIGHT_BYTES_MAX, INFLATED_BYTES_MAX,
};
use crate::source::http::{HttpOptions, TlsOptions};

impl Check<'_> {
    pub(in crate::config) fn http(&mut self, file: &ConfigFile) -> HttpOptions {
        let at = Path::default().key("limits");
        let (limits, file, largest) = (&file.limits, &file.http, largest_body(file));
        self.at_least(&at.key(BODY_BYTES_MAX.key), limits.body_bytes_max, Size(BODY_BYTES_MAX.least));
        self.at_least(&at.key(INFLATED_BYTES_MAX.key), limits.inflated_bytes_max, limits.body_bytes_max);
        self.at_most(
            &at.key(INFLATED_BYTES_MAX.key),
            limits.inflated_bytes_max,
            Size(INFLATED_BYTES_MAX.most),
        );
        // The largest body must fit into the memory for all bodies, or it is never accepted.
        self.at_least(&at.key(IN_FLIGHT_BYTES_MAX.key), limits.in_flight_bytes_max, largest);
        self.check_size(&at, limits.in_flight_bytes_max, &IN_FLIGHT_BYTES_MAX);
        self.check_size(&at, limits.body_bytes_per_second_min, &BODY_BYTES_PER_SECOND_MIN);
        for (knob, period) in [
            (HEADER_TIMEOUT, limits.header_timeout),
            (BODY_TIMEOUT, limits.body_timeout),
            (IDLE_TIMEOUT, limits.idle_timeout),
            (ACK_TIMEOUT, limits.ack_timeout),
        ] {
            if period.0 < knob.least {
                let label = format!("with `{}: 0s` every request would time out", knob.key);
                self.error(&at.key(knob.key), "zero duration", label);
            }
            self.no_longer_than(&at, period, &knob);
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

//! The checks of the limits for senders, and of both listeners.

use std::net::{IpAddr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};

use super::Check;
use crate::admin::AdminOptions;
use crate::admin::options::TOKEN_BYTES_MIN;
use crate::config::file::ConfigFile;
use crate::config::yaml::spans::Path;
use crate::reference::Reference;
use crate::scalars::Size;
use crate::source::http::{HttpOptions, Limits};

impl Check<'_> {
    /// Checks the limits against each other.
    pub(in crate::config) fn check_limits(&mut self, limits: &Limits) {
        let at = Path::default().key("limits");
        let size = |bytes: usize| Size::from(bytes);
        let inflated = size(limits.inflated_bytes_max);
        self.at_least(&at.key("inflated_bytes_max"), inflated, size(limits.body_bytes_max));
        // The largest body must fit into the memory for all bodies, or it is never accepted.
        let in_flight = size(limits.in_flight_bytes_max);
        self.at_least(&at.key("in_flight_bytes_max"), in_flight, size(limits.largest_body_bytes));
    }

    pub(in crate::config) fn http(&mut self, mut http: HttpOptions) -> HttpOptions {
        if let Some(tls) = &mut http.tls {
            let at = Path::default().key("http").key("tls");
            for (key, path) in [("certificate", &mut tls.certificate), ("key", &mut tls.key)] {
                let at = at.key(key);
                if self.has_usable(&at)
                    && let Some(readable) = self.readable(&path.to_string_lossy(), &at)
                {
                    *path = readable;
                }
            }
        }
        http
    }

    pub(in crate::config) fn admin(&mut self, file: &ConfigFile) -> AdminOptions {
        let at = Path::default().key("admin");
        let listen = file.admin.listen;
        let token = self.admin_token(file.admin.token.as_ref(), &at.key("token"));
        let metrics_token = self.metrics_token(file, token.as_ref(), &at.key("metrics_token"));
        let has_no_token = file.admin.token.is_none() && !self.places.has(&at.key("token"));
        if has_no_token && !listen.ip().is_loopback() {
            self.error(
                &at.key("listen"),
                "admin listener without a token",
                "whoever reaches this port from another machine could read and redrive events".into(),
            )
            .notes
            .push("add `token: env:NAME` under `admin`, or listen on 127.0.0.1".into());
        }
        if collide(listen, file.http.listen) {
            let public = file.http.listen;
            let label = format!("`http` listens on {public}; the admin listener needs another port");
            self.error(&at.key("listen"), "one address for two listeners", label);
        }
        if has_no_token && !file.admin.hosts.is_empty() {
            let label = "a name is for a proxy, behind which everybody comes from this machine: without a \
                         token whoever reaches the proxy could read and redrive events";
            self.error(&at.key("hosts"), "names without a token", label.into())
                .notes
                .push("add `token: env:NAME` under `admin`".into());
        }
        for (index, host) in file.admin.hosts.iter().enumerate().filter(|(_, host)| !is_host_name(host)) {
            let label =
                format!("`{host}` is no host name, expected one without port, such as `ops.example.com`");
            let note = "each name stands for itself alone: a pattern would let web pages in";
            self.error(&at.key("hosts").index(index), "no host name", label).notes.push(note.into());
        }
        let hosts = file.admin.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let (show_payloads, import) = (file.admin.show_payloads, file.admin.import);
        AdminOptions { listen, token, metrics_token, hosts, show_payloads, import }
    }

    /// Reads a token of the admin listener, and checks that nobody guesses it.
    fn admin_token(&mut self, reference: Option<&Reference>, at: &Path) -> Option<SecretString> {
        let token = self.secret(reference?, at)?;
        let length = token.expose_secret().len();
        if length < TOKEN_BYTES_MIN {
            let label = format!("the token has {length} bytes, expected at least {TOKEN_BYTES_MIN}");
            self.error(at, "token that can be guessed", label);
        }
        Some(token)
    }

    fn metrics_token(
        &mut self,
        file: &ConfigFile,
        token: Option<&SecretString>,
        at: &Path,
    ) -> Option<SecretString> {
        let metrics_token = self.admin_token(file.admin.metrics_token.as_ref(), at)?;
        if file.admin.token.is_none() && !self.places.has(&Path::default().key("admin").key("token")) {
            let label =
                "without `admin.token` everybody who reaches the listener reads the metrics, and more";
            let problem = self.error(at, "token for the metrics alone", label.into());
            problem.notes.push("add `token: env:NAME` under `admin`".into());
        }
        // The values are not known where AWS keeps them and was not asked.
        if file.admin.token == file.admin.metrics_token
            || token.is_some_and(|token| token.expose_secret() == metrics_token.expose_secret())
        {
            let label = "it is the same as `admin.token`, so whoever reads the metrics could also change the \
                         bridge";
            self.error(at, "one token for two purposes", label.into())
                .notes
                .push("make another one, such as by `openssl rand -hex 24`".into());
        }
        Some(metrics_token)
    }
}

/// Whether it is a name of a host, as clients write it in `Host`.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (1..=63).contains(&label.len()) && is_plain
    };
    host.len() <= 253 && host.parse::<IpAddr>().is_err() && host.split('.').all(is_label)
}

/// Whether two listeners cannot both be bound. The unspecified address takes the port on all
/// addresses, and an IPv4 address can also be written in IPv6.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

//! The address of the server that keeps the shared window, and the login.

use std::fmt;

use redis::RedisConnectionInfo;

/// The port if the URL names none.
const PORT: u16 = 6379;

/// The address of a Redis or Valkey server, and the login. Its texts do not show the login.
#[derive(Clone)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) login: RedisConnectionInfo,
}

impl Server {
    /// Reads `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS; `valkey` and
    /// `valkeys` are the same.
    ///
    /// # Errors
    /// What is wrong with the URL, in words that repeat no part of it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(EXPECTED)?;
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(EXPECTED),
        };
        // The client's parser of URLs, whose own TLS is not used.
        let url = redis::parse_redis_url(&format!("redis://{rest}")).ok_or(UNREADABLE)?;
        if url.fragment().is_some() || url.query().is_some() {
            return Err(TRAILING);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL names no host");
        }
        let database = url.path().trim_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return Err("the database after the host is not a number");
        }
        let info = redis::IntoConnectionInfo::into_connection_info(url).map_err(|_| UNUSABLE)?;
        let redis::ConnectionAddr::Tcp(host, port) = info.addr().clone() else { return Err(EXPECTED) };
        let login = info.redis_settings().clone().set_skip_set_lib_name();
        Ok(Self { host, port: if port == 0 { PORT } else { port }, tls, login })
    }

    /// Its host and port.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether a password would leave this machine in the clear.
    pub fn shows_its_password(&self) -> bool {
        let local = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.login.password().is_some() && !self.tls && !local
    }
}

const EXPECTED: &str = "expected `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS";
const UNREADABLE: &str = "expected a URL; in a password, write `%`, `/`, `?`, `#` and `@` as %25, %2F, %3F, \
                          %23 and %40";
const TRAILING: &str = "expected no `?` and no `#` in the URL; in a password, write them as %3F and %23";
const UNUSABLE: &str = "expected a host that can be connected to, and user and password in UTF-8";

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}/{}", self.host, self.port, self.login.db())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_says_where_the_server_is_and_how_to_get_in() {
        for (url, shown) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("valkey://cache:7000/3\n", "redis://cache:7000/3"),
            ("rediss://cache/", "rediss://cache:6379/0"),
            ("valkeys://:hunter2@10.0.0.7:6380/1", "rediss://10.0.0.7:6380/1"),
            ("redis://hunter2:hunter2@[::1]:6380", "redis://[::1]:6380/0"),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.to_string(), shown, "{url}");
            assert_eq!(format!("{server:?}"), format!("Server({shown})"));
        }
        let server = Server::parse("redis://me:p%40ss%2Fword@cache/2").unwrap();
        assert_eq!((server.login.username(), server.login.password()), (Some("me"), Some("p@ss/word")));
        assert_eq!((server.host.as_str(), server.login.db()), ("cache", 2));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_explained_without_being_repeated() {
        for (url, problem) in [
            ("hunter2", EXPECTED),
            ("hunter2:6379", EXPECTED),
            ("http://hunter2", EXPECTED),
            ("unix:///hunter2.sock", EXPECTED),
            ("redis://:hunter2", UNREADABLE),
            ("redis://me:hunter2/x@cache", UNREADABLE),
            ("redis://me:hunter2#x@cache", UNREADABLE),
            ("redis://cache:hunter2", UNREADABLE),
            ("redis://hunter2?x@cache", TRAILING),
            ("rediss://hunter2/#insecure", TRAILING),
            ("redis:///0", "the URL names no host"),
            ("redis://cache/hunter2", "the database after the host is not a number"),
            ("redis://cache/-1", "the database after the host is not a number"),
            ("redis://0.0.0.0", UNUSABLE),
            ("redis://me:%ff@hunter2", UNUSABLE),
        ] {
            let said = Server::parse(url).err();
            assert_eq!(said, Some(problem), "{url}");
            assert!(!problem.contains("hunter2"));
        }
    }

    #[test]
    fn a_password_is_safe_on_this_machine_and_within_tls() {
        for (url, shows) in [
            ("redis://:secret@cache", true),
            ("redis://:secret@10.0.0.7", true),
            ("redis://cache", false),
            ("rediss://:secret@cache", false),
            ("redis://:secret@localhost", false),
            ("redis://:secret@127.0.0.1", false),
            ("redis://:secret@[::1]", false),
        ] {
            assert_eq!(Server::parse(url).unwrap().shows_its_password(), shows, "{url}");
        }
    }
}

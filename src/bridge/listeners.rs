//! The sockets of both listeners: bound here, or handed over by whoever starts the bridge, as systemd does
//! (`LISTEN_FDS`), or by the bridge that runs until now (`handover/`).
//!
//! A socket that is handed over outlives the process: while the bridge restarts, the system goes on taking
//! connections, and they wait until the next process accepts them. A socket is for the listener after which
//! it is named (`LISTEN_FDNAMES`); if no name says `http` or `admin`, the first one is for the public
//! listener and the second one for the admin listener.

use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

use super::BridgeError;
use super::handover::Predecessor;
use super::open::LOCK_WAIT;
use crate::config::Config;

/// Most connections that the system queues for a listener. The system can have a smaller bound of its own.
/// A peer beyond it tries again after a second. The usual default is 128, which a burst of strangers fills
/// before the listener accepts the next connection.
const BACKLOG: i32 = 4096;

/// The name of the public listener's socket.
pub(super) const HTTP: &str = "http";
/// The name of the admin listener's socket.
pub(super) const ADMIN: &str = "admin";
/// The listeners by the names of their sockets, in their order.
pub(super) const NAMES: [&str; 2] = [HTTP, ADMIN];
/// The number of the first descriptor that is handed over.
const FIRST: usize = 3;

/// A socket that listens before the start.
#[derive(Debug)]
pub(super) enum ReadySocket {
    /// Somebody else has bound it, and handed it over.
    HandedOver(net::TcpListener),
    /// This process has bound it, because the address has changed.
    BoundHere(net::TcpListener),
}

/// The sockets that were handed over, and those that were bound in the place of one.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    /// For the public listener.
    pub(super) http: Option<ReadySocket>,
    /// For the admin listener.
    pub(super) admin: Option<ReadySocket>,
    /// The bridge that has handed them over, if it was a bridge.
    pub(super) predecessor: Option<Predecessor>,
}

/// Sockets that were handed over and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// There are too many, or two for one listener.
    #[error(
        "LISTEN_FDS hands over {count} sockets named `{names}`, expected at most one named `http` and one \
         named `admin`"
    )]
    Names {
        /// How many there are.
        count: usize,
        /// What `LISTEN_FDNAMES` says.
        names: String,
    },
    /// It is no socket that listens for TCP.
    #[error("descriptor {number} of LISTEN_FDS cannot be used, expected a socket that listens for TCP")]
    Socket {
        /// The number of the descriptor.
        number: usize,
        /// The system's error.
        source: io::Error,
    },
}

/// A configured address, and whether other processes may listen there as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundAddress {
    pub(super) address: SocketAddr,
    reuse_port: bool,
}

impl BoundAddress {
    /// Those of the public and of the admin listener.
    pub(super) fn of(config: &Config) -> [Self; 2] {
        let admin = Self { address: config.admin.listen, reuse_port: false };
        [Self { address: config.http.listen, reuse_port: config.http.reuse_port }, admin]
    }

    /// One for this process alone.
    #[cfg(test)]
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, reuse_port: false }
    }

    /// Binds the address, and listens there.
    pub(super) fn bind(self) -> io::Result<TcpListener> {
        let Self { address, reuse_port } = self;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of the previous process can still be closing.
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(reuse_port)?;
        socket.bind(address)?;
        socket.listen(BACKLOG.cast_unsigned())
    }
}

impl InheritedSockets {
    /// Takes what was handed over to this process. Call it before there is another thread, and once: what was
    /// taken is forgotten, so that no child of the process takes it again.
    ///
    /// # Errors
    /// When something was handed over that the bridge has no use for: peers would wait there for ever.
    pub fn take() -> Result<Self, InheritedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let count = handed.len();
        let Some([http, admin]) = places(count, &names) else {
            return Err(InheritedError::Names { count, names });
        };
        let mut take = |place: Option<usize>| {
            let Some(index) = place else { return Ok(None) };
            let listener = handed.take_tcp_listener(index).and_then(|listener| {
                listener.iter().try_for_each(listening)?;
                Ok(listener)
            });
            let listener = listener.map(|listener| listener.map(ReadySocket::HandedOver));
            listener.map_err(|source| InheritedError::Socket { number: index + FIRST, source })
        };
        Ok(Self { http: take(http)?, admin: take(admin)?, predecessor: None })
    }

    /// Whether nothing was handed over.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.admin.is_none()
    }

    /// How long to wait until another process has released the spool.
    pub(super) fn lock_wait(&self) -> Duration {
        self.predecessor.as_ref().map_or(LOCK_WAIT, |predecessor| predecessor.ends_within)
    }

    /// The public and the admin listener; what was not handed over is bound to its address.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub(super) fn listen(
        self,
        [http, admin]: [BoundAddress; 2],
    ) -> Result<[(TcpListener, SocketAddr); 2], BridgeError> {
        Ok([listen(HTTP, self.http, http)?, listen(ADMIN, self.admin, admin)?])
    }
}

/// Prepares a socket; one that listens already gets the bridge's own queue.
fn listening(socket: &net::TcpListener) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    Ok(rustix::net::listen(socket, BACKLOG)?)
}

/// Which of so many sockets is for which listener; `None` if one would be left over.
fn places(count: usize, names: &str) -> Option<[Option<usize>; 2]> {
    let names: Vec<&str> = names.split(':').take(count).collect();
    let is_named = names.iter().any(|name| NAMES.contains(name));
    let places = match is_named {
        true => NAMES.map(|wanted| names.iter().position(|name| *name == wanted)),
        false => [0, 1].map(|place| (place < count).then_some(place)),
    };
    (places.iter().flatten().count() == count).then_some(places)
}

/// A listener with its real address: for port 0 the system chooses the port, and a socket that was handed
/// over has the address to which somebody else has bound it.
fn listen(
    name: &str,
    ready: Option<ReadySocket>,
    bound: BoundAddress,
) -> Result<(TcpListener, SocketAddr), BridgeError> {
    let configured = bound.address;
    let is_handed_over = matches!(ready, Some(ReadySocket::HandedOver(_)));
    let listening = match ready {
        Some(ReadySocket::HandedOver(socket) | ReadySocket::BoundHere(socket)) => {
            TcpListener::from_std(socket)
        }
        None => bound.bind(),
    };
    let listener = listening.map_err(|source| BridgeError::Listen { address: configured, source })?;
    let address = listener.local_addr().unwrap_or(configured);
    if is_handed_over {
        tracing::info!(
            listener = name,
            %address,
            %configured,
            "the listener has a socket that was handed over"
        );
    }
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_go_to_the_listeners_by_name_and_else_in_order_and_none_is_left_over() {
        for (count, names, expected) in [
            (0, "", Some([None, None])),
            (1, "", Some([Some(0), None])),
            (2, "fanbridge.socket:fanbridge.socket", Some([Some(0), Some(1)])),
            (1, "admin", Some([None, Some(0)])),
            (2, "admin:http", Some([Some(1), Some(0)])),
            (3, "", None),
            (2, "http:http", None),
            (2, "http:other", None),
            (2, "http", None),
        ] {
            assert_eq!(places(count, names), expected, "{count} {names}");
        }
    }
}

//! The new process's side of a hand-over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_acceptconn;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::ANSWERS_WITHIN;
use super::wire::{Door, GiverSays, TakerSays, hear, same_user, say};
use crate::aws::Aws;
use crate::bridge::BridgeError;
use crate::bridge::listeners::{ADMIN, BoundAddress, HTTP, InheritedSockets, ReadySocket};
use crate::bridge::open::{LOCK_WAIT, blocking};
use crate::bridge::sinks::make_sink;
use crate::config::Config;
use crate::sink::Output;
use crate::sink::file::FileSink;
use crate::source::http::tls::Tls;
use crate::spool;
use crate::state;

/// The bridge whose sockets this process has taken.
#[derive(Debug)]
pub(in crate::bridge) struct Predecessor {
    /// Shows the other bridge, until it has ended, that this process lives.
    _stream: UnixStream,
    /// The longest that it can take to release the spool.
    pub(in crate::bridge) ends_within: Duration,
    since: Instant,
}

impl Predecessor {
    /// Says that it has released the spool, and after how long.
    pub(in crate::bridge) fn has_ended(self) {
        let seconds = self.since.elapsed().as_secs_f64();
        tracing::info!(seconds, "the former bridge has released the spool: this one goes on where it ended");
    }
}

/// Checks what a start needs and what can be checked while another bridge runs on the same spool.
///
/// # Errors
/// What would end the start.
pub(super) async fn rehearse(config: &Config) -> Result<(), BridgeError> {
    config.http.tls.as_ref().map(Tls::load).transpose()?;
    let aws = Aws::new(config.aws.clone());
    for sink in &config.sinks {
        match &sink.output {
            // Its directory is the running bridge's until that has ended.
            Output::File(file) => {
                let (file, name) = (file.clone(), sink.name.clone());
                let unusable = |error| BridgeError::Sink { name, source: Box::new(error) };
                blocking(move || FileSink::make_dir(&file).map_err(unusable)).await?;
            }
            Output::Kafka(_) | Output::Sns(_) => drop(make_sink(sink, &aws).await?),
        }
    }
    Ok(())
}

/// Asks the running bridge for its listening sockets; there are none if no bridge runs.
///
/// # Errors
/// When a bridge runs and does not give them.
pub(super) async fn ask(config: &Config) -> Result<InheritedSockets, BridgeError> {
    let dir = &config.spool.dir;
    let connected = match Door::of(dir) {
        Ok(door) => UnixStream::connect(&door.path).await,
        Err(error) => Err(error),
    };
    let stream = match connected {
        Ok(stream) => stream,
        // There is no socket, or one that a killed bridge has left.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            tracing::info!(
                dir = %dir.display(),
                "no running bridge offers its listening sockets for this spool: this one starts as usual"
            );
            return Ok(InheritedSockets::default());
        }
        Err(error) => return Err(not_given(format!("its socket cannot be reached: {error}"))),
    };
    same_user(&stream).map_err(not_given)?;
    let offered = receive(&stream).await?;
    let (pid, ends_within) = (offered.pid, offered.ends_within);
    let mut sockets = offered.arrange(config)?;
    let ends_within = if is_confirmed(&stream).await { ends_within } else { LOCK_WAIT };
    tracing::info!(
        pid,
        seconds_at_most = ends_within.as_secs(),
        "this bridge has the listening sockets of the running one, and waits until that has ended and \
         released the spool"
    );
    sockets.predecessor = Some(Predecessor { _stream: stream, ends_within, since: Instant::now() });
    Ok(sockets)
}

/// What the running bridge offers.
struct Offered {
    sockets: Vec<(String, OwnedFd)>,
    pid: u32,
    ends_within: Duration,
}

/// Asks for the sockets, and receives them.
async fn receive(stream: &UnixStream) -> Result<Offered, BridgeError> {
    let take = TakerSays::Take {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        spool_format: spool::NEWEST_FORMAT,
        state_format: state::NEWEST_FORMAT,
    };
    let mut descriptors = Vec::new();
    let answer = async {
        // Who refuses does not wait for the question, and its answer says more than the error.
        let _ = say(stream, &take, &[]).await;
        hear(stream, &mut descriptors).await
    };
    let answer = timeout(ANSWERS_WITHIN, answer).await;
    match answer {
        Ok(Ok(GiverSays::Sockets { names, pid, ends_within_ms })) if names.len() == descriptors.len() => {
            let sockets = names.into_iter().zip(descriptors).collect();
            Ok(Offered { sockets, pid, ends_within: Duration::from_millis(ends_within_ms) })
        }
        Ok(Ok(GiverSays::Refused { reason })) => Err(not_given(reason)),
        Ok(Ok(_)) => Err(not_given("it does not answer what it was asked".to_owned())),
        Ok(Err(error)) => Err(not_given(format!("it cannot be talked with: {error}"))),
        Err(_) => Err(not_given(format!("it has not answered for {} s", ANSWERS_WITHIN.as_secs()))),
    }
}

impl Offered {
    /// The sockets for the listeners of this bridge. A listener that is configured to another address is
    /// bound to that; then the running bridge still goes on if this fails.
    fn arrange(self, config: &Config) -> Result<InheritedSockets, BridgeError> {
        let mut sockets = InheritedSockets::default();
        let [http, admin] = BoundAddress::of(config);
        for (name, socket) in self.sockets {
            match name.as_str() {
                HTTP => sockets.http = Some(arrange(HTTP, socket, http)?),
                ADMIN => sockets.admin = Some(arrange(ADMIN, socket, admin)?),
                _ => {}
            }
        }
        Ok(sockets)
    }
}

/// A socket that was taken, or one that is bound here if that has another address than the configured one.
fn arrange(name: &'static str, socket: OwnedFd, place: BoundAddress) -> Result<ReadySocket, BridgeError> {
    let configured = place.address;
    let listener = listening(socket);
    let unusable = |error: io::Error| not_given(format!("its socket `{name}` cannot be used: {error}"));
    let (listener, address) = listener.map_err(unusable)?;
    // The port 0 stands for any port, and a port has been found.
    if address == configured || (address.ip() == configured.ip() && configured.port() == 0) {
        return Ok(ReadySocket::HandedOver(listener));
    }
    let bound = place.bind().and_then(tokio::net::TcpListener::into_std);
    let bound = bound.map_err(|source| BridgeError::Listen { address: configured, source })?;
    tracing::info!(
        listener = name,
        %address,
        %configured,
        "the listener is configured to another address than that of the running bridge, and is bound there: \
         connections to the former address are refused once that bridge has ended"
    );
    Ok(ReadySocket::BoundHere(bound))
}

/// The socket, if it listens for TCP, and its address.
fn listening(socket: OwnedFd) -> io::Result<(TcpListener, SocketAddr)> {
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Says that the sockets are here. Whether the running bridge has heard it, and ends.
///
/// If it has not, it was killed, which releases the spool, or it goes on, which the spool's lock will tell.
async fn is_confirmed(stream: &UnixStream) -> bool {
    let confirmation = async {
        say(stream, &TakerSays::Have, &[]).await?;
        hear(stream, &mut Vec::new()).await
    };
    matches!(timeout(ANSWERS_WITHIN, confirmation).await, Ok(Ok(GiverSays::Ends)))
}

fn not_given(reason: String) -> BridgeError {
    BridgeError::NotHandedOver(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(listener: &TcpListener) -> OwnedFd {
        listener.try_clone().expect("a descriptor").into()
    }

    #[tokio::test]
    async fn a_socket_is_taken_for_its_own_address_and_another_address_is_bound() {
        let running = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = running.local_addr().expect("an address");
        let taken = |address| arrange(HTTP, descriptor(&running), BoundAddress::at(address));
        for own in [address, (address.ip(), 0).into()] {
            let Ok(ReadySocket::HandedOver(socket)) = taken(own) else { panic!("{own} is not taken") };
            assert_eq!(socket.local_addr().ok(), Some(address));
        }
        let other = taken("127.0.0.2:0".parse().expect("an address"));
        let Ok(ReadySocket::BoundHere(other)) = other else { panic!("{other:?} is not bound here") };
        assert_ne!(other.local_addr().ok(), Some(address));
        // Somebody else has it: nothing is taken.
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let refused = taken(elsewhere.local_addr().expect("an address"));
        assert!(matches!(refused, Err(BridgeError::Listen { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn what_does_not_listen_is_no_listener() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let refused = arrange(ADMIN, socket.into(), BoundAddress::at(([127, 0, 0, 1], 9090).into()));
        let said = refused.expect_err("it is of UDP").to_string();
        assert!(said.contains("its socket `admin` cannot be used: it does not listen"), "{said}");
    }
}

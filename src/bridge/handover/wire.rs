//! What the two processes of a hand-over say to each other, and how descriptors travel between them.
//!
//! The giver is the running bridge, the taker the new process. Each message is one line of JSON; the taker
//! speaks first, and neither speaks again before it was answered:
//!
//! ```text
//! taker                                  giver
//!   take  (releases, formats)     ->
//!                                 <-     sockets (descriptors; how long the giver takes to end), or refused
//!   have                          ->
//!                                 <-     ends: from here on the giver stops in order
//! ```
//!
//! Until `have` has come the giver goes on as if nothing had happened, whatever becomes of the taker.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The name of the socket in the spool's directory.
const NAME: &str = "handover.sock";
/// Most bytes of a socket's address, of which the last one is a zero.
const ADDRESS_BYTES_MAX: usize = 107;
/// Most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Most descriptors of a message: those of the public and of the admin listener.
pub(super) const DESCRIPTORS_MAX: usize = 2;

/// What the process says that takes the sockets over.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum TakerSays {
    /// It asks for the sockets, and has checked whatever it can check before.
    Take {
        /// Its release.
        release: String,
        /// The newest format of the log that it reads.
        spool_format: u32,
        /// The newest format of the state file that it reads.
        state_format: u64,
    },
    /// It has the sockets, and waits for the giver to end.
    Have,
}

/// What the running bridge says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum GiverSays {
    /// The sockets of these listeners travel with this message, in this order.
    Sockets {
        /// The listeners, as `LISTEN_FDNAMES` would name them.
        names: Vec<String>,
        /// The giver's process.
        pid: u32,
        /// The longest that it can take to end, in milliseconds.
        ends_within_ms: u64,
    },
    /// It gives nothing, and goes on.
    Refused {
        /// Why, as a sentence without a full stop.
        reason: String,
    },
    /// It ends.
    Ends,
}

/// Where the socket of a spool's directory is reached.
pub(super) struct Door {
    pub(super) path: PathBuf,
    /// Keeps the descriptor open by which a long path is reached.
    _dir: Option<File>,
}

impl Door {
    /// That of this directory. If its path is too long for a socket's address, the address leads through an
    /// open descriptor of the directory.
    ///
    /// # Errors
    /// When such a directory cannot be opened.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self { path, _dir: None });
        }
        let dir = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()).into();
        Ok(Self { path, _dir: Some(dir) })
    }
}

/// Sends one message, with descriptors if there are any.
///
/// # Errors
/// When the other process has gone.
pub(super) async fn say<M: Serialize + Sync>(
    stream: &UnixStream,
    message: &M,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("there are too many descriptors for one message"));
        }
        Ok(sendmsg(stream, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?)
    });
    // Its queue is empty whenever it is its turn, and takes far more than one message.
    if sent.await? == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Waits for the next message; descriptors that come with it are added to those that are there.
///
/// # Errors
/// When the other process has gone, or says what is no message.
pub(super) async fn hear<M: DeserializeOwned>(
    stream: &UnixStream,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<M> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut chunk = [0; MESSAGE_BYTES_MAX];
        let receiving = stream.async_io(Interest::READABLE, || receive(stream, &mut chunk, descriptors));
        match receiving.await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => line.extend_from_slice(&chunk[..bytes]),
        }
        if line.len() > MESSAGE_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no message of a hand-over"));
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

fn receive(stream: &UnixStream, into: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(into)];
    // No process that this one starts inherits the descriptors.
    let received = recvmsg(stream, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// Whether the process at the other end is of this process's user.
///
/// # Errors
/// A sentence without a full stop if it is not, or if this cannot be told.
pub(super) fn same_user(stream: &UnixStream) -> Result<(), String> {
    let other =
        stream.peer_cred().map_err(|error| format!("the user of the process is not known: {error}"))?;
    of_user(other.uid(), rustix::process::geteuid().as_raw())
}

fn of_user(other: u32, own: u32) -> Result<(), String> {
    match other == own {
        true => Ok(()),
        false => Err(format!("the process is of user {other}, expected user {own}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().expect("a pair of sockets")
    }

    #[tokio::test]
    async fn a_socket_arrives_with_its_message_and_listens_on() {
        let (giver, taker) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let sockets = GiverSays::Sockets { names: vec!["http".into()], pid: 7, ends_within_ms: 1 };
        say(&giver, &sockets, &[listener.as_fd()]).await.expect("sent");
        drop(listener);
        let mut descriptors = Vec::new();
        let heard: GiverSays = hear(&taker, &mut descriptors).await.expect("received");
        assert_eq!(heard, sockets);
        let received = TcpListener::from(descriptors.pop().expect("a descriptor"));
        assert_eq!((received.local_addr().ok(), descriptors.len()), (Some(address), 0));
        std::net::TcpStream::connect(address).expect("it listens");
    }

    #[tokio::test]
    async fn what_is_no_message_and_what_breaks_off_is_an_error() {
        for bytes in
            [&b""[..], b"{\"say\":\"ha", b"GET / HTTP/1.1\r\n", &[b'x'; 5000], b"{\"say\":\"more\"}\n"]
        {
            let (one, other) = pair();
            let mut one = one.into_std().expect("a socket");
            one.set_nonblocking(false).expect("it blocks");
            one.write_all(bytes).expect("sent");
            drop(one);
            let heard: io::Result<TakerSays> = hear(&other, &mut Vec::new()).await;
            assert!(heard.is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[tokio::test]
    async fn a_process_of_another_user_is_refused_also_if_it_is_root() {
        assert_eq!(same_user(&pair().0), Ok(()));
        assert!(of_user(0, 1000).is_err_and(|why| why.contains("of user 0, expected user 1000")));
        assert!(of_user(1000, 0).is_err());
    }

    #[tokio::test]
    async fn a_directory_with_a_long_path_has_a_door_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let long = dir.path().join("d".repeat(120));
        std::fs::create_dir(&long).expect("made");
        let (giver, taker) = (Door::of(&long).expect("a door"), Door::of(&long).expect("a door"));
        let listener = tokio::net::UnixListener::bind(&giver.path).expect("bound");
        assert!(long.join(NAME).exists());
        let (_, accepted) = tokio::join!(UnixStream::connect(&taker.path), listener.accept());
        accepted.expect("connected");
        assert!(Door::of(&dir.path().join("e".repeat(120))).is_err(), "there is no such directory");
    }
}

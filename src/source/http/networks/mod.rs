//! Who is at the door: the networks that have connections here, and those that lately were authentic.
//!
//! A network is an IPv4 address or an IPv6 /64, which is what one peer controls at least. It is a
//! stranger until a request of its was granted for a reason, and then known for a day: a connection that
//! stays open is no proof. Strangers share a part of the connections, so that known networks always find
//! places; when places are short, connections of strangers that wait for their peer go first, those of
//! the network that has the most. So a newcomer with one connection is not turned away for a stranger
//! with a thousand; all of an IPv6 /48 count together there, because one peer may well have that much.
//! Behind a proxy all come from one network: there it is the connections without a granted request that
//! go first.
//! One lock, taken when a connection comes or goes, and when it is granted a request and that was not
//! noted within the hour.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::handshake;
use super::timeout_stream::{ConnectionState, PeerState};

/// How long after a request was granted it is not noted that another one was, on one connection.
const NOTED_EVERY: Duration = Duration::from_secs(3600);
/// How long a network, or a connection, is known by what was noted: a day from its last granted request
/// in any case.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600 + NOTED_EVERY.as_secs());
/// How often it is looked, at most, who is known no longer: there may be thousands.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Known networks that are remembered without a connection; the one that was here longest ago is
/// forgotten first.
const REMEMBERED_MAX: usize = 4096;
/// Large bodies of one network of strangers that may wait for their turn.
const LINE_MAX: usize = 128;
/// The part of the connections that is kept from strangers: one in so many.
const KEPT_FROM_STRANGERS: usize = 4;

tokio::task_local! {
    /// The connection that the task serves. A part of each request would cost every one of them an
    /// allocation, for the few that ask.
    pub(in crate::source) static GUEST: Arc<Guest>;
}

/// The network that the request at hand comes from, as far as its connection tells: behind a proxy
/// all come from one. `None` outside of a connection.
pub(in crate::source) fn peer_network() -> Option<IpAddr> {
    GUEST.try_with(|guest| guest.network.address).ok()
}

/// The network that the request at hand comes from, if it is a stranger.
pub(in crate::source) fn stranger() -> Option<Arc<Network>> {
    let stranger = |guest: &Arc<Guest>| (!guest.network.is_known()).then(|| Arc::clone(&guest.network));
    GUEST.try_with(stranger).ok().flatten()
}

/// All networks, as one listener sees them.
pub(in crate::source) struct Networks {
    since: Instant,
    tally: Arc<Connections>,
    /// Connections in all, of strangers, and of one network.
    all_max: usize,
    strangers_max: usize,
    each_max: usize,
    /// Held by each step of a stranger's handshake that is taken.
    handshakes: Semaphore,
    book: Mutex<Book>,
}

/// A network, as all its connections share it.
#[derive(Debug)]
pub(in crate::source) struct Network {
    address: IpAddr,
    known: AtomicBool,
    /// Bytes of bodies in memory that it sent as a stranger.
    pub(in crate::source) body_bytes: AtomicUsize,
    /// Held by the one large body of a stranger that is worked on, or next to be.
    pub(in crate::source) turn: Semaphore,
    /// Held by each of its bodies that waits for that.
    pub(in crate::source) line: Semaphore,
    /// Held by the one handshake of a stranger of which a step is taken, or next to be.
    handshake: Semaphore,
}

/// A connection.
pub(in crate::source) struct Guest {
    networks: Arc<Networks>,
    network: Arc<Network>,
    number: u64,
    /// When a request of its was granted for a reason, as far as it was noted: in seconds since the
    /// listener began, and one more.
    noted: AtomicU64,
    displaced: AtomicBool,
    /// Tells the connection to end.
    pub(in crate::source) closing: CancellationToken,
    exchange: OnceLock<ConnectionState>,
}

/// A connection's place; taken until dropped.
pub(in crate::source) struct ConnectionPermit(pub(in crate::source) Arc<Guest>);

#[derive(Default)]
struct Book {
    arrivals: u64,
    open: usize,
    strangers: usize,
    looked: Option<Instant>,
    entries: HashMap<IpAddr, Entry>,
}

struct Entry {
    network: Arc<Network>,
    /// Open connections, the oldest first.
    guests: BTreeMap<u64, Arc<Guest>>,
    /// When it was last noted to be authentic.
    proven_at: Option<Instant>,
}

impl Networks {
    pub(in crate::source) fn new(all_max: usize, each_max: usize, tally: Arc<Connections>) -> Arc<Self> {
        let strangers_max = all_max - all_max / KEPT_FROM_STRANGERS;
        let (since, book) = (Instant::now(), Mutex::default());
        let handshakes = Semaphore::new(handshake::turns());
        Arc::new(Self { since, tally, all_max, strangers_max, each_max, handshakes, book })
    }

    /// A place for one more connection from this address, if there is one or one can be made. Where all
    /// are taken it has one all the same, and whoever lets it in has to wait until another leaves.
    /// `closing` tells the connection to end.
    pub(in crate::source) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        closing: CancellationToken,
    ) -> Option<ConnectionPermit> {
        let address = network(address);
        let mut book = self.lock();
        book.expire();
        let (count, known) = book.look(address);
        if count >= self.each_max && !self.displace(&mut book, Some(address)) {
            self.tally.address_is_full();
            return None;
        }
        if !known && book.strangers >= self.strangers_max && !self.displace_stranger(&mut book) {
            self.tally.strangers_are_full();
            return None;
        }
        if book.open >= self.all_max && !self.displace_stranger(&mut book) {
            let crowd = book.crowds(|_| true).max_by_key(|(count, _)| *count).map(|(_, address)| address);
            if !self.displace(&mut book, crowd) {
                self.tally.all_taken();
            }
        }
        Some(ConnectionPermit(book.admit(self, address, closing)))
    }

    /// Ends a connection of strangers that can be done without, of the network that has the most of those
    /// that have one, in the site that has the most; whether there was one.
    fn displace_stranger(&self, book: &mut Book) -> bool {
        // Where all of the largest are being answered, that shields nobody else.
        let mut crowds = BinaryHeap::from(book.strangers_by_site());
        std::iter::from_fn(|| crowds.pop()).any(|(.., address)| self.displace(book, Some(address)))
    }

    /// Ends the connection of this network that can best be done without; whether there was one.
    fn displace(&self, book: &mut Book, address: Option<IpAddr>) -> bool {
        let entry = address.and_then(|address| book.entries.get(&address));
        let Some(guest) = entry.and_then(Entry::superfluous).cloned() else { return false };
        guest.displaced.store(true, Relaxed);
        guest.closing.cancel();
        book.remove(&guest);
        self.tally.displaced();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }
}

impl Book {
    /// Makes strangers of those whose proof is too old, and forgets them if they are not here.
    fn expire(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let strangers = &mut self.strangers;
        self.entries.retain(|_, entry| {
            if entry.proven_at.is_some_and(|at| at.elapsed() >= KNOWN_FOR) {
                entry.proven_at = None;
                entry.network.known.store(false, Relaxed);
                *strangers += entry.guests.len();
            }
            !entry.guests.is_empty() || entry.proven_at.is_some()
        });
    }

    /// How many connections a network has, and whether it is known.
    fn look(&self, address: IpAddr) -> (usize, bool) {
        let entry = self.entries.get(&address);
        entry.map_or((0, false), |entry| (entry.guests.len(), entry.network.is_known()))
    }

    /// The networks of strangers that have connections: with their site's number, and their own.
    fn strangers_by_site(&self) -> Vec<(usize, usize, IpAddr)> {
        let strangers = || self.crowds(|entry| !entry.network.is_known());
        let mut sites: HashMap<IpAddr, usize> = HashMap::new();
        strangers().for_each(|(count, address)| *sites.entry(site(address)).or_default() += count);
        strangers().map(|(count, address)| (sites[&site(address)], count, address)).collect()
    }

    /// The networks among these that have connections, with their number.
    fn crowds(&self, among: impl Fn(&Entry) -> bool) -> impl Iterator<Item = (usize, IpAddr)> {
        let entries = self.entries.iter().filter(move |(_, entry)| !entry.guests.is_empty() && among(entry));
        entries.map(|(address, entry)| (entry.guests.len(), *address))
    }

    fn admit(&mut self, networks: &Arc<Networks>, address: IpAddr, closing: CancellationToken) -> Arc<Guest> {
        let entry = self.entries.entry(address).or_insert_with(|| Entry::new(address));
        self.arrivals += 1;
        let guest = Arc::new(Guest {
            networks: Arc::clone(networks),
            network: Arc::clone(&entry.network),
            number: self.arrivals,
            noted: AtomicU64::new(0),
            displaced: AtomicBool::new(false),
            closing,
            exchange: OnceLock::new(),
        });
        entry.guests.insert(guest.number, Arc::clone(&guest));
        self.open += 1;
        self.strangers += usize::from(!entry.network.is_known());
        guest
    }

    /// Takes a connection out; one that was taken out before is none any more.
    fn remove(&mut self, guest: &Guest) {
        let address = guest.network.address;
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if entry.guests.remove(&guest.number).is_none() {
            return;
        }
        self.open -= 1;
        self.strangers -= usize::from(!entry.network.is_known());
        if entry.guests.is_empty() && entry.proven_at.is_none() {
            self.entries.remove(&address);
        }
        self.forget();
    }

    /// Notes that a network is authentic.
    fn prove(&mut self, guest: &Guest) {
        let Some(entry) = self.entries.get_mut(&guest.network.address) else { return };
        if !entry.guests.contains_key(&guest.number) {
            return;
        }
        entry.proven_at = Some(Instant::now());
        if !entry.network.known.swap(true, Relaxed) {
            self.strangers -= entry.guests.len();
        }
    }

    /// Forgets networks without connections until the memory of them is within its bound.
    fn forget(&mut self) {
        // Those with connections are as many as those at most.
        while self.entries.len() > REMEMBERED_MAX + self.open {
            let idle = self.entries.iter().filter(|(_, entry)| entry.guests.is_empty());
            let Some(oldest) = idle.min_by_key(|(_, entry)| entry.proven_at).map(|(address, _)| *address)
            else {
                return;
            };
            self.entries.remove(&oldest);
        }
    }
}

impl Entry {
    fn new(address: IpAddr) -> Self {
        let (known, body_bytes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (turn, line, handshake) = (Semaphore::new(1), Semaphore::new(LINE_MAX), Semaphore::new(1));
        let network = Arc::new(Network { address, known, body_bytes, turn, line, handshake });
        Self { network, guests: BTreeMap::new(), proven_at: None }
    }

    /// The connection that can best be done without: the oldest idle one that was not granted a
    /// request within a day, and of a stranger also one whose request is still on its way.
    fn superfluous(&self) -> Option<&Arc<Guest>> {
        let at = |rest| {
            let mut unproven = self.guests.values().filter(|guest| !guest.is_proven());
            unproven.find(|guest| guest.rest() == rest)
        };
        at(PeerState::Idle).or_else(|| if self.network.is_known() { None } else { at(PeerState::Sending) })
    }
}

impl Network {
    pub(in crate::source) fn is_known(&self) -> bool {
        self.known.load(Relaxed)
    }
}

impl Guest {
    /// Notes that a request was granted for a reason: who sends it is who he should be.
    pub(in crate::source) fn prove(&self) {
        if self.proof_age().is_none_or(|age| age >= NOTED_EVERY) {
            self.noted.store(self.networks.since.elapsed().as_secs() + 1, Relaxed);
            self.networks.lock().prove(self);
        }
    }

    /// Whether a request was lately granted for a reason.
    pub(in crate::source) fn is_proven(&self) -> bool {
        self.proof_age().is_some_and(|age| age < KNOWN_FOR)
    }

    fn proof_age(&self) -> Option<Duration> {
        let noted = Duration::from_secs(self.noted.load(Relaxed).checked_sub(1)?);
        Some(self.networks.since.elapsed().saturating_sub(noted))
    }

    /// The lines in which each step of a stranger's handshake waits for its turn: that of its network,
    /// and that of all.
    pub(in crate::source) fn handshake_lines(&self) -> Option<[&Semaphore; 2]> {
        (!self.network.is_known()).then_some([&self.network.handshake, &self.networks.handshakes])
    }

    /// Lets it be seen what the connection is at.
    pub(in crate::source) fn speaks(&self, exchange: ConnectionState) {
        // It is told once.
        let _ = self.exchange.set(exchange);
    }

    /// Whether the connection must make room for another, whatever it is at.
    pub(in crate::source) fn is_displaced(&self) -> bool {
        self.displaced.load(Relaxed)
    }

    /// One that says nothing yet, or encrypts nothing yet, is idle.
    fn rest(&self) -> PeerState {
        self.exchange.get().map_or(PeerState::Idle, ConnectionState::rest)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.networks.lock().remove(&self.0);
    }
}

/// What one peer controls at least: an IPv4 address or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// What one peer may control, and so is one crowd among those that make room: an IPv4 address, or the
/// IPv6 /48 that most sites get, with 65,536 networks in it.
fn site(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;

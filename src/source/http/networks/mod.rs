//! Decides which networks can have how many connections.
//!
//! A network is an IPv4 address or an IPv6 /64, which one peer controls at least. It is a stranger until
//! a request of it proves authentic, and known for a day after the last one that did; an open connection
//! alone proves nothing. Strangers share three quarters of the connections, so that known networks can
//! always connect. When connections are short, a stranger's connection that waits for its peer is closed
//! first: one of the network with the most connections, in the site with the most. So a newcomer with
//! one connection is not refused in favour of a stranger with a thousand. An IPv6 /48 is one site,
//! because one peer can well control that much. Behind a proxy all connections come from one network;
//! there, those on which nothing authentic came are closed first.
//!
//! One lock guards all of it. It is taken when a connection comes or goes, and at most once an hour for
//! each connection on which authentic requests arrive.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::timeout_stream::{ConnectionState, PeerState};

/// The shortest time between two notes that requests on one connection were authentic.
const NOTED_EVERY: Duration = Duration::from_secs(3600);
/// How long after the last note a network, or a connection, counts as known: at least a day from its
/// last authentic request.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600 + NOTED_EVERY.as_secs());
/// The shortest time between two searches for networks that are no longer known: there can be thousands.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most known networks that are remembered without a connection. The one whose proof is oldest is
/// forgotten first.
const REMEMBERED_MAX: usize = 4096;
/// Most large bodies of one network of strangers that wait for their turn or have it.
const WAITING_MAX: usize = 128;
/// One in this many connections is kept for known networks.
const KEPT_FROM_STRANGERS: usize = 4;

tokio::task_local! {
    /// The connection that the task serves. Were it an extension of each request, every request would
    /// cost an allocation, and few ask for it.
    pub(in crate::source) static GUEST: Arc<Guest>;
}

/// The network of the connection that the current task serves, if it is a stranger.
pub(in crate::source) fn stranger() -> Option<Arc<Network>> {
    let stranger = |guest: &Arc<Guest>| (!guest.network.is_known()).then(|| Arc::clone(&guest.network));
    GUEST.try_with(stranger).ok().flatten()
}

/// All networks that one listener knows, and their connections.
pub(in crate::source) struct Networks {
    since: Instant,
    metrics: Arc<Connections>,
    /// Most connections in all, of strangers together, and of one network.
    all_max: usize,
    strangers_max: usize,
    each_max: usize,
    /// Held by each step of a stranger's handshake while it runs.
    handshakes: Semaphore,
    book: Mutex<Book>,
}

/// One network; all its connections share this.
#[derive(Debug)]
pub(in crate::source) struct Network {
    address: IpAddr,
    known: AtomicBool,
    /// Bytes of the bodies in memory that this network sent as a stranger.
    pub(in crate::source) body_bytes: AtomicUsize,
    /// Held by the one large body of this network that is worked on, or that waits for the turn of all
    /// strangers.
    pub(in crate::source) turn: Semaphore,
    /// Held by each large body of this network that waits for its turn or has it: [`WAITING_MAX`] at most.
    pub(in crate::source) waiting: Semaphore,
    site: Arc<Site>,
}

impl Network {
    /// The address of its site.
    pub(in crate::source) fn site(&self) -> IpAddr {
        site(self.address)
    }
}

/// One site: an IPv4 address, or an IPv6 /48, whose networks are cheap to have.
#[derive(Debug)]
struct Site {
    /// Open connections of its networks that are strangers; changed under the lock of the book.
    strangers: AtomicUsize,
    /// Held by the one handshake of this site of which a step runs, or that waits for the turn of all
    /// strangers.
    handshake: Semaphore,
}

/// One connection, with its network and what its peer has proved.
pub(in crate::source) struct Guest {
    networks: Arc<Networks>,
    network: Arc<Network>,
    number: u64,
    /// When it was last noted that a request on this connection was authentic: in seconds since the
    /// listener began, plus one; 0 for never.
    noted: AtomicU64,
    displaced: AtomicBool,
    /// Cancelled to tell the connection to end.
    pub(in crate::source) closing: CancellationToken,
    state: OnceLock<ConnectionState>,
}

/// Lets one connection be open; when the permit is dropped, its network can open another.
pub(in crate::source) struct ConnectionPermit(pub(in crate::source) Arc<Guest>);

#[derive(Default)]
struct Book {
    arrivals: u64,
    open: usize,
    strangers: usize,
    looked: Option<Instant>,
    entries: HashMap<IpAddr, Entry>,
    sites: HashMap<IpAddr, Weak<Site>>,
}

/// A stranger's network, in the order in which its connections can be spared: the largest site goes
/// first, then the largest network. Of equals the one that is here longest, so that nobody chooses.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Crowd {
    of_site: usize,
    of_network: usize,
    /// Number of its oldest connection.
    oldest: Reverse<u64>,
    address: IpAddr,
}

struct Entry {
    network: Arc<Network>,
    /// Open connections, the oldest first.
    guests: BTreeMap<u64, Arc<Guest>>,
    /// When a request of this network was last noted to be authentic.
    proven_at: Option<Instant>,
}

impl Networks {
    pub(in crate::source) fn new(all_max: usize, each_max: usize, metrics: Arc<Connections>) -> Arc<Self> {
        let strangers_max = all_max - all_max / KEPT_FROM_STRANGERS;
        let (since, book) = (Instant::now(), Mutex::default());
        let handshakes = Semaphore::new(handshakes_max());
        Arc::new(Self { since, metrics, all_max, strangers_max, each_max, handshakes, book })
    }

    /// A permit for one more connection from this address, unless its network or the strangers have as
    /// many as they can have and none of those can be closed. If only `connections_max` is reached, the
    /// permit is given all the same, and the caller waits until another connection ends. `closing` tells
    /// the connection to end.
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
            self.metrics.address_is_full();
            return None;
        }
        if !known && book.strangers >= self.strangers_max && !self.displace_stranger(&mut book) {
            self.metrics.strangers_are_full();
            return None;
        }
        if book.open >= self.all_max && !self.displace_stranger(&mut book) {
            let crowd = book.crowds(|_| true).max_by_key(|(count, _)| *count).map(|(_, address)| address);
            if !self.displace(&mut book, crowd) {
                self.metrics.all_taken();
            }
        }
        Some(ConnectionPermit(book.admit(self, address, closing)))
    }

    /// Closes a stranger's connection that waits for its peer: one of the network with the most
    /// connections, in the site with the most. Returns whether there was one.
    fn displace_stranger(&self, book: &mut Book) -> bool {
        let largest = book.strangers_by_site().max();
        largest.is_some_and(|crowd| self.displace(book, Some(crowd.address))) || {
            // The largest has no connection that waits: the next ones are tried.
            let mut crowds: BinaryHeap<_> = book.strangers_by_site().collect();
            std::iter::from_fn(|| crowds.pop()).any(|crowd| self.displace(book, Some(crowd.address)))
        }
    }

    /// Closes the connection of this network that can best be spared; returns whether there was one.
    fn displace(&self, book: &mut Book, address: Option<IpAddr>) -> bool {
        let entry = address.and_then(|address| book.entries.get(&address));
        let Some(guest) = entry.and_then(Entry::superfluous).cloned() else { return false };
        guest.displaced.store(true, Relaxed);
        guest.closing.cancel();
        book.remove(&guest);
        self.metrics.displaced();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }
}

impl Book {
    /// Makes strangers of networks whose proof is too old, and forgets those without a connection.
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
                entry.network.site.strangers.fetch_add(entry.guests.len(), Relaxed);
            }
            !entry.guests.is_empty() || entry.proven_at.is_some()
        });
        self.sites.retain(|_, site| site.strong_count() > 0);
    }

    /// How many connections a network has, and whether it is known.
    fn look(&self, address: IpAddr) -> (usize, bool) {
        let entry = self.entries.get(&address);
        entry.map_or((0, false), |entry| (entry.guests.len(), entry.network.is_known()))
    }

    /// The strangers' networks that have connections. One pass without a look-up, because every arrival
    /// makes it while the strangers have all that they can have.
    fn strangers_by_site(&self) -> impl Iterator<Item = Crowd> {
        let strangers = self.entries.iter().filter(|(_, entry)| !entry.network.is_known());
        strangers.filter_map(|(address, entry)| {
            let (oldest, _) = entry.guests.first_key_value()?;
            Some(Crowd {
                of_site: entry.network.site.strangers.load(Relaxed),
                of_network: entry.guests.len(),
                oldest: Reverse(*oldest),
                address: *address,
            })
        })
    }

    /// The networks that have connections and that `among` selects, with how many they have.
    fn crowds(&self, among: impl Fn(&Entry) -> bool) -> impl Iterator<Item = (usize, IpAddr)> {
        let entries = self.entries.iter().filter(move |(_, entry)| !entry.guests.is_empty() && among(entry));
        entries.map(|(address, entry)| (entry.guests.len(), *address))
    }

    fn admit(&mut self, networks: &Arc<Networks>, address: IpAddr, closing: CancellationToken) -> Arc<Guest> {
        let sites = &mut self.sites;
        let entry = self.entries.entry(address).or_insert_with(|| Entry::new(address, sites));
        self.arrivals += 1;
        let guest = Arc::new(Guest {
            networks: Arc::clone(networks),
            network: Arc::clone(&entry.network),
            number: self.arrivals,
            noted: AtomicU64::new(0),
            displaced: AtomicBool::new(false),
            closing,
            state: OnceLock::new(),
        });
        entry.guests.insert(guest.number, Arc::clone(&guest));
        self.open += 1;
        if !entry.network.is_known() {
            self.strangers += 1;
            entry.network.site.strangers.fetch_add(1, Relaxed);
        }
        guest
    }

    /// Removes a connection; does nothing if it was removed before.
    fn remove(&mut self, guest: &Guest) {
        let address = guest.network.address;
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if entry.guests.remove(&guest.number).is_none() {
            return;
        }
        self.open -= 1;
        if !entry.network.is_known() {
            self.strangers -= 1;
            entry.network.site.strangers.fetch_sub(1, Relaxed);
        }
        if entry.guests.is_empty() && entry.proven_at.is_none() {
            self.entries.remove(&address);
        }
        self.forget();
    }

    /// Notes that a connection's network sent an authentic request.
    fn prove(&mut self, guest: &Guest) {
        let Some(entry) = self.entries.get_mut(&guest.network.address) else { return };
        if !entry.guests.contains_key(&guest.number) {
            return;
        }
        entry.proven_at = Some(Instant::now());
        if !entry.network.known.swap(true, Relaxed) {
            self.strangers -= entry.guests.len();
            entry.network.site.strangers.fetch_sub(entry.guests.len(), Relaxed);
        }
    }

    /// Forgets networks without connections until at most [`REMEMBERED_MAX`] of them are left.
    fn forget(&mut self) {
        // There are at most as many networks with connections as there are connections.
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
    fn new(address: IpAddr, sites: &mut HashMap<IpAddr, Weak<Site>>) -> Self {
        let (known, body_bytes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (turn, waiting) = (Semaphore::new(1), Semaphore::new(WAITING_MAX));
        let known_site = sites.entry(site(address)).or_default();
        let site = known_site.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Site { strangers: AtomicUsize::new(0), handshake: Semaphore::new(1) });
            *known_site = Arc::downgrade(&new);
            new
        });
        let network = Arc::new(Network { address, known, body_bytes, turn, waiting, site });
        Self { network, guests: BTreeMap::new(), proven_at: None }
    }

    /// The connection that can best be spared: the oldest idle one on which nothing authentic came within
    /// a day. Of a stranger, also one whose request has not arrived whole.
    fn superfluous(&self) -> Option<&Arc<Guest>> {
        let at = |wanted| {
            let mut unproven = self.guests.values().filter(|guest| !guest.is_proven());
            unproven.find(|guest| guest.peer_state() == wanted)
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
    /// Notes that a request on this connection was authentic.
    pub(in crate::source) fn prove(&self) {
        if self.proof_age().is_none_or(|age| age >= NOTED_EVERY) {
            self.noted.store(self.networks.since.elapsed().as_secs() + 1, Relaxed);
            self.networks.lock().prove(self);
        }
    }

    /// Whether a request on this connection was authentic within a day.
    pub(in crate::source) fn is_proven(&self) -> bool {
        self.proof_age().is_some_and(|age| age < KNOWN_FOR)
    }

    fn proof_age(&self) -> Option<Duration> {
        let noted = Duration::from_secs(self.noted.load(Relaxed).checked_sub(1)?);
        Some(self.networks.since.elapsed().saturating_sub(noted))
    }

    /// The semaphores of which each step of a stranger's handshake needs a permit: that of its site,
    /// and that of all strangers. `None` for a known network.
    pub(in crate::source) fn handshake_turns(&self) -> Option<[&Semaphore; 2]> {
        (!self.network.is_known()).then_some([&self.network.site.handshake, &self.networks.handshakes])
    }

    /// Lets [`Networks`] see what the connection is doing.
    pub(in crate::source) fn set_state(&self, state: ConnectionState) {
        // A second call is ignored.
        let _ = self.state.set(state);
    }

    /// Whether the connection was chosen to make room for another, and must end at once.
    pub(in crate::source) fn is_displaced(&self) -> bool {
        self.displaced.load(Relaxed)
    }

    /// What the connection is doing. It counts as idle until its TLS handshake is complete.
    fn peer_state(&self) -> PeerState {
        self.state.get().map_or(PeerState::Idle, ConnectionState::peer_state)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.networks.lock().remove(&self.0);
    }
}

/// How many steps of strangers' handshakes run at a time: half as many as there are cores.
pub(super) fn handshakes_max() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// The network of an address: the IPv4 address, or the IPv6 /64, which one peer controls at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// The site of a network, whose connections count together when one has to be closed: the IPv4 address,
/// or the IPv6 /48, which most sites get and which has 65,536 networks.
fn site(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;

//! TLS handshakes, of which strangers' take turns.
//!
//! A handshake costs a signature, up to some milliseconds of a core, before the peer has said who it is.
//! So a stranger's handshake waits for its turn: each site (an IPv4 address, an IPv6 /48) has one at a time,
//! and all strangers together use at most half of the cores. Known networks never wait. A turn is one step of
//! a handshake: it processes what the peer has sent and ends, so a turn is never held while the peer is
//! waited for. The time spent waiting for a turn counts towards the handshake's timeout, and a connection
//! that waits for one counts as idle.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::networks::Guest;

/// Encrypts a connection.
///
/// # Errors
/// When the peer goes away, or the peer and this listener share no version or cipher.
pub(super) async fn encrypt<IO: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    io: IO,
    guest: &Guest,
) -> io::Result<TlsStream<IO>> {
    let mut handshake = pin!(acceptor.accept(io));
    loop {
        let turn = match guest.handshake_turns() {
            Some([site, all]) => Some((site.acquire().await, all.acquire().await)),
            None => None,
        };
        let step = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await;
        drop(turn);
        match step {
            Poll::Ready(encrypted) => return encrypted,
            Poll::Pending => woken().await,
        }
    }
}

/// Waits until the task is woken.
async fn woken() {
    let mut waits = true;
    poll_fn(|_| if std::mem::take(&mut waits) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;
    use tokio_rustls::TlsConnector;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::source::http::connections::Connections;
    use crate::source::http::networks::{ConnectionPermit, Networks, handshakes_max};
    use crate::telemetry::Metrics;

    /// Both ends of any handshake.
    fn ends() -> (TlsAcceptor, TlsConnector) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key);
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server.unwrap()).into(), Arc::new(client).into())
    }

    fn networks() -> Arc<Networks> {
        Networks::new(1000, 1000, Connections::new("http", &Metrics::new()))
    }

    fn enter(networks: &Arc<Networks>, address: &str) -> ConnectionPermit {
        networks.enter(address.parse().unwrap(), CancellationToken::new()).unwrap()
    }

    /// Whether a peer that does its part gets a connection encrypted.
    async fn is_encrypted(
        permit: &ConnectionPermit,
        (acceptor, connector): &(TlsAcceptor, TlsConnector),
    ) -> bool {
        let (here, there) = tokio::io::duplex(16 << 10);
        let name = ServerName::try_from("localhost").unwrap();
        let both = async { tokio::join!(encrypt(acceptor, here, &permit.0), connector.connect(name, there)) };
        match timeout(Duration::from_secs(1), both).await {
            Ok((here, there)) => here.is_ok() && there.is_ok(),
            Err(_) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_waits_for_its_turn_and_who_is_known_does_not() {
        let (networks, ends) = (networks(), ends());
        let (stranger, known) = (enter(&networks, "192.0.2.1"), enter(&networks, "192.0.2.2"));
        known.0.prove();
        assert!(is_encrypted(&stranger, &ends).await && is_encrypted(&known, &ends).await);
        let [_, all] = stranger.0.handshake_turns().unwrap();
        let taken = all.acquire_many(handshakes_max() as u32).await.unwrap();
        assert!(!is_encrypted(&stranger, &ends).await, "all turns are taken");
        assert!(is_encrypted(&known, &ends).await);
        drop(taken);
        let [site, _] = stranger.0.handshake_turns().unwrap();
        let taken = site.acquire().await.unwrap();
        assert!(!is_encrypted(&stranger, &ends).await, "its site has its turn already");
        assert!(is_encrypted(&enter(&networks, "192.0.2.3"), &ends).await, "and keeps no other back");
        drop(taken);
        assert!(is_encrypted(&stranger, &ends).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_networks_of_one_site_have_one_turn_among_them() {
        let (networks, ends) = (networks(), ends());
        let one = enter(&networks, "2001:db8:1:1::1");
        let [site, _] = one.0.handshake_turns().unwrap();
        let _taken = site.acquire().await.unwrap();
        assert!(!is_encrypted(&enter(&networks, "2001:db8:1:2::1"), &ends).await, "another /64 of the /48");
        assert!(is_encrypted(&enter(&networks, "2001:db8:2:1::1"), &ends).await, "another /48");
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_are_waited_for_hold_no_turn() {
        let (networks, ends) = (networks(), ends());
        let mut waiting = Vec::new();
        for number in 0..64_usize {
            let (here, mut there) = tokio::io::duplex(16 << 10);
            // The beginning of a hello, of some.
            there.write_all(&[22, 3, 1, 2, 0, 1][..number % 7]).await.unwrap();
            let (permit, acceptor) = (enter(&networks, "192.0.2.1"), ends.0.clone());
            let task = tokio::spawn(async move { drop(encrypt(&acceptor, here, &permit.0).await) });
            waiting.push((there, task));
        }
        tokio::task::yield_now().await;
        assert!(is_encrypted(&enter(&networks, "192.0.2.1"), &ends).await);
        assert!(waiting.iter().all(|(_, task)| !task.is_finished()));
    }
}

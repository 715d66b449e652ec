//! TLS for a listener: certificate and key from PEM files, read again when they change.
//!
//! TLS 1.2 and 1.3, HTTP/1.1 only. The cryptography provider is passed explicitly, so that nothing
//! depends on what another part of the process installed. If the new files cannot be used, the old
//! certificate stays in service.

use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::TlsAcceptor;

use super::TlsOptions;
use crate::telemetry::Episode;

/// The shortest time between two checks whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The certificate and key of a listener, which are read again when their files change. Clones share them.
#[derive(Clone)]
pub struct Tls {
    files: TlsOptions,
    look_every: Duration,
    current: Arc<Mutex<Current>>,
}

/// A certificate and key that were read and can be used.
pub struct ReadCertificate {
    acceptor: TlsAcceptor,
    changed: Changed,
}

struct Current {
    acceptor: TlsAcceptor,
    changed: Changed,
    looked: Instant,
    /// The time in which the files cannot be used, by the error and its cause. The certificate in service
    /// expires some day, so the log repeats it.
    trouble: Episode<(String, Option<String>)>,
}

/// The modification times of the certificate file and of the key file.
type Changed = (SystemTime, SystemTime);

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{file}`")]
    Unreadable {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file does not hold PEM of the expected kind.
    #[error("`{file}` does not hold a PEM {expected}")]
    NotPem {
        /// The file.
        file: String,
        /// What the file should hold.
        expected: &'static str,
        /// What the parser found wrong.
        #[source]
        source: pem::Error,
    },
    /// The certificate and the key do not belong together, or TLS does not accept them.
    #[error("the TLS certificate and key cannot be used together")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn load(files: &TlsOptions) -> Result<Self, TlsError> {
        Self::load_and_look_every(files, LOOK_EVERY)
    }

    fn load_and_look_every(files: &TlsOptions, look_every: Duration) -> Result<Self, TlsError> {
        let ReadCertificate { acceptor, changed } = ReadCertificate::of(files)?;
        let trouble = Episode::reminding();
        let current = Current { acceptor, changed, looked: Instant::now(), trouble };
        Ok(Self { files: files.clone(), look_every, current: Arc::new(Mutex::new(current)) })
    }

    /// Reads the files again, and changes nothing yet. Blocks on the disk.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn read_again(&self) -> Result<ReadCertificate, TlsError> {
        ReadCertificate::of(&self.files)
    }

    /// Puts a certificate that was read again into service, for handshakes that begin from now on.
    pub fn take(&self, read: ReadCertificate) {
        let mut current = self.current.lock();
        let now = Instant::now();
        current.looked = now;
        current.take(read, &self.files);
        current.recover(now);
    }

    /// The acceptor for the next handshake, made of the files as they were at most ten seconds ago.
    ///
    /// The files are read on this thread: they are small, and rarely change.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock();
        if current.looked.elapsed() >= self.look_every {
            current.look(&self.files, Instant::now());
        }
        current.acceptor.clone()
    }
}

impl Current {
    /// Looks whether the files have changed, and logs when they cannot be used and when they can again.
    fn look(&mut self, files: &TlsOptions, now: Instant) {
        self.looked = now;
        let Err(error) = self.follow(files) else { return self.recover(now) };
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        if let Some(news) = self.trouble.happens((error.to_string(), cause.clone()), now) {
            tracing::error!(
                seconds = news.seconds(),
                %error,
                cause,
                "the files of the listener's TLS certificate and key cannot be used any more: the old \
                 certificate stays in service until they are right"
            );
        }
    }

    fn follow(&mut self, files: &TlsOptions) -> Result<(), TlsError> {
        if changed(files)? != self.changed {
            // Noted only after they were read well: half-written files are read again at the next check.
            self.take(ReadCertificate::of(files)?, files);
        }
        Ok(())
    }

    fn take(&mut self, ReadCertificate { acceptor, changed }: ReadCertificate, files: &TlsOptions) {
        if changed != self.changed {
            let certificate = files.certificate.display();
            tracing::info!(%certificate, "the listener's TLS certificate has changed and is in service");
        }
        (self.acceptor, self.changed) = (acceptor, changed);
    }

    /// Notes that the files can be used.
    fn recover(&mut self, now: Instant) {
        if let Some(seconds) = self.trouble.over(now).map(|end| end.seconds()) {
            tracing::info!(seconds, "the files of the listener's TLS certificate and key can be used again");
        }
    }
}

impl ReadCertificate {
    fn of(files: &TlsOptions) -> Result<Self, TlsError> {
        // Looked at first: files that change while they are read are read again.
        let changed = changed(files)?;
        Ok(Self { acceptor: read(files)?, changed })
    }
}

fn changed(files: &TlsOptions) -> Result<Changed, TlsError> {
    let of = |file: &Path| {
        let modified = std::fs::metadata(file).and_then(|metadata| metadata.modified());
        modified.map_err(|source| TlsError::Unreadable { file: file.display().to_string(), source })
    };
    Ok((of(&files.certificate)?, of(&files.key)?))
}

fn read(files: &TlsOptions) -> Result<TlsAcceptor, TlsError> {
    let problem = |file: &Path, expected| {
        let file = file.display().to_string();
        move |error| match error {
            pem::Error::Io(source) => TlsError::Unreadable { file, source },
            source => TlsError::NotPem { file, expected, source },
        }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(problem(&files.certificate, "certificate chain"))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(problem(&files.key, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use std::fs::File;

    fn write_identity(files: &TlsOptions, age: Duration) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".into()]).expect("a certificate");
        for (file, text) in [(&files.certificate, cert.pem()), (&files.key, signing_key.serialize_pem())] {
            std::fs::write(file, text).expect("written");
            make_older(file, age);
        }
    }

    /// Tells times of change apart on file systems that keep them coarsely.
    fn make_older(file: &Path, age: Duration) {
        let file = File::options().write(true).open(file).expect("there");
        file.set_modified(SystemTime::now() - age).expect("set");
    }

    /// Which configuration the next handshake gets.
    fn in_service(tls: &Tls) -> *const ServerConfig {
        Arc::as_ptr(tls.acceptor().config())
    }

    #[test]
    fn a_replaced_certificate_is_taken_and_one_of_no_use_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = TlsOptions { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write_identity(&files, Duration::from_secs(60));
        let tls = Tls::load_and_look_every(&files, Duration::ZERO).expect("a good identity");
        let first = in_service(&tls);
        assert_eq!(in_service(&tls), first, "nothing changed");

        std::fs::write(&files.certificate, "half a certif").expect("written");
        make_older(&files.certificate, Duration::from_secs(50));
        assert_eq!(in_service(&tls), first, "the old one stays in service");
        let is_told = || tls.current.lock().trouble.is_ongoing();
        assert!(is_told(), "that it cannot be used is said once, and not at each look");
        std::fs::remove_file(&files.key).expect("removed");
        assert_eq!(in_service(&tls), first, "and stays");

        write_identity(&files, Duration::from_secs(40));
        let second = in_service(&tls);
        assert_ne!(second, first, "the new one is taken");
        assert!(!is_told());
        assert_eq!(in_service(&tls), second);
    }

    #[test]
    fn a_certificate_that_is_read_again_on_demand_is_in_service_at_once_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = TlsOptions { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write_identity(&files, Duration::from_secs(60));
        let tls = Tls::load(&files).expect("a good identity");
        let (served, first) = (tls.clone(), in_service(&tls));
        // As old as the one before: only what the files hold differs.
        write_identity(&files, Duration::from_secs(60));
        let read = tls.read_again().expect("a good identity");
        assert_eq!(in_service(&served), first, "it is only read");
        tls.take(read);
        let second = in_service(&served);
        assert_ne!(second, first);
        std::fs::write(&files.certificate, "half a certif").expect("written");
        assert!(tls.read_again().is_err());
        assert_eq!(in_service(&served), second);
    }

    #[test]
    fn the_files_are_not_looked_at_for_every_handshake() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = TlsOptions { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write_identity(&files, Duration::from_secs(60));
        let tls = Tls::load(&files).expect("a good identity");
        let first = in_service(&tls);
        write_identity(&files, Duration::from_secs(40));
        assert_eq!(in_service(&tls), first);
    }
}

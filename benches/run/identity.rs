//! A certificate of the bench's own, for `localhost`.

use anyhow::Context;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::path::{Path, PathBuf};

/// A certificate and its key, as PEM files.
pub struct Identity {
    /// The certificate, which the load trusts.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Identity {
    /// Makes one, of the kind that certificate authorities give today: ECDSA over P-256.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn make(dir: &Path) -> anyhow::Result<Self> {
        let identity = Self { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()])?;
        std::fs::write(&identity.certificate, cert.pem())?;
        std::fs::write(&identity.key, signing_key.serialize_pem())?;
        Ok(identity)
    }

    /// The certificate's path as an argument.
    ///
    /// # Errors
    /// When it is not text.
    pub fn certificate(&self) -> anyhow::Result<&str> {
        self.certificate.to_str().context("the build directory's path is not text")
    }
}

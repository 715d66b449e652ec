//! TLS clients: the authorities that are trusted, and one cryptography for all of them.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// The authorities that this system trusts; none if it has no store. Blocks while it reads files.
pub fn system_authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    // A certificate in the system's store that cannot be parsed does not exclude the others.
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    authorities
}

/// A TLS client that trusts these authorities and shows no certificate of its own. The cryptography
/// is passed in explicitly, so that it does not depend on what another part of the process has
/// installed.
///
/// # Errors
/// When the cryptography library does not accept its own defaults.
pub fn client(authorities: impl Into<Arc<RootCertStore>>) -> Result<ClientConfig, rustls::Error> {
    let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(authorities).with_no_client_auth())
}

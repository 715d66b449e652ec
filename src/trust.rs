//! TLS towards others: whom to trust, and one cryptography for all who ask.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// The authorities that this system trusts; none if it has no store. Reads files, which takes a while.
pub fn system_authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    // A system's store often holds some certificate that cannot be used; the others can.
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    authorities
}

/// A client that trusts these authorities and shows no certificate of its own. The cryptography is
/// passed in explicitly, as for the listeners: nothing depends on what another part of the process
/// installed.
///
/// # Errors
/// When the cryptography refuses its own defaults.
pub fn client(authorities: impl Into<Arc<RootCertStore>>) -> Result<ClientConfig, rustls::Error> {
    let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(authorities).with_no_client_auth())
}

//! Certificates and keys for doors that speak TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use weir_core::{Error, ErrorKind};

/// What a door shows to clients that speak TLS: a chain of certificates and the key to the first of them.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) config: Arc<ServerConfig>,
}

impl Identity {
    /// Reads a chain of certificates and a private key from PEM files.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when a file cannot be read, holds something else, or the key does not fit.
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, Error> {
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| invalid("the file of certificates cannot be read", certificates, error))?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| invalid("the file with the private key cannot be read", key, error))?;
        Self::new(chain, private)
            .map_err(|error| invalid("certificate and key are refused", certificates, error))
    }

    /// An identity from a chain of certificates and the key to the first of them.
    ///
    /// # Errors
    /// When there is no certificate, or the key does not fit.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self { config: Arc::new(config) })
    }
}

fn invalid(
    what: &'static str,
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new(ErrorKind::Invalid(what)).with_context(path.display().to_string()).with_source(error)
}

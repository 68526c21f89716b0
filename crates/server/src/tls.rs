//! TLS configuration from the server's certificate. One provider of cryptography (ring) in the whole program.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::ServerConfig;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::start::StartError;

/// Two PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to a root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, StartError> {
        let certs = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certs = certs.map_err(|error| unreadable(&self.cert, "certificate", &error))?;
        if certs.is_empty() {
            return Err(unreadable(&self.cert, "certificate", &pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| unreadable(&self.key, "private key without a passphrase", &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(certs, key))
            .map_err(|error| failed(&self.cert, &format!("{error}; does the key in --tls-key belong to it?")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// What could not be read is not repeated: the file may hold a key, whichever it was given as.
fn unreadable(path: &Path, what: &str, error: &pem::Error) -> StartError {
    match error {
        pem::Error::Io(error) => failed(path, &error.to_string()),
        pem::Error::NoItemsFound => failed(path, &format!("there is no {what} in it; it must be PEM")),
        _ => failed(path, &format!("it is damaged, or not PEM: a {what} in PEM form is expected")),
    }
}

fn failed(path: &Path, problem: &str) -> StartError {
    StartError::Tls { path: path.to_owned(), problem: problem.to_owned() }
}

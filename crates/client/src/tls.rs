//! Certificate authorities and client certificates: reads PEM files for reqwest.

use std::path::Path;

use reqwest::{Certificate, Identity};
use rustls::{
    crypto::ring::sign,
    sign::CertifiedKey,
    {Error as TlsError, InconsistentKeys},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{
    error::Error,
    settings::{CA_BUNDLE, CLIENT_CERT, CLIENT_KEY, Setting},
};

/// The authorities of a file; only these are trusted.
pub(crate) fn authorities(path: &Path) -> Result<Vec<Certificate>, Error> {
    const RULE: &str = "name a PEM file with the certificates of your authorities";
    let certificates = certificates(&read(&CA_BUNDLE, path, RULE)?);
    let found = certificates.map_err(|problem| failed(&CA_BUNDLE, path, problem, RULE))?;
    let unreadable = |_| failed(&CA_BUNDLE, path, UNREADABLE, RULE);
    found.iter().map(|der| Certificate::from_der(der).map_err(unreadable)).collect()
}

/// The authorities of Mozilla at build time, for machines without a certificate store (slim containers).
pub(crate) fn bundled_authorities() -> Vec<Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok()).collect()
}

/// The client's certificate with its chain, and its key, which may be in the same file. A mismatch is reported here, because
/// the platform would only refuse the connection.
pub(crate) fn identity(certificate: &Path, key: Option<&Path>) -> Result<Identity, Error> {
    const RULE: &str = "name a PEM file with your certificate (and its chain)";
    const KEY_RULE: &str = "name a PEM file with the certificate's private key";
    let pem = read(&CLIENT_CERT, certificate, RULE)?;
    let chain = certificates(&pem).map_err(|problem| failed(&CLIENT_CERT, certificate, problem, RULE))?;
    let (setting, path, rule) = match key {
        Some(key) => (&CLIENT_KEY, key, KEY_RULE),
        None => (&CLIENT_CERT, certificate, "name the file of its private key with client_key= or MLP_CLIENT_KEY"),
    };
    let key_pem = read(setting, path, rule)?;
    let key_failed = |problem: &str| failed(setting, path, problem, rule);
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
        let encrypted = blocks(&key_pem, "ENCRYPTED PRIVATE KEY").next().is_some();
        key_failed(if encrypted {
            "its private key is encrypted, and a passphrase cannot be requested here (remove it with openssl pkey -in key.pem -out plain.pem)"
        } else {
            "it contains no readable private key"
        })
    })?;
    let key = sign::any_supported_type(&key).map_err(|_| {
        key_failed("the type of its private key is not supported (RSA, ECDSA P-256/384 and Ed25519 are)")
    })?;
    if let Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) = CertifiedKey::new(chain, key).keys_match() {
        let whose = format!("its private key does not match the certificate in '{}'", certificate.display());
        return Err(key_failed(&whose));
    }
    // Only the needed blocks: reqwest refuses files with more.
    let parts = blocks(&pem, "CERTIFICATE").chain(blocks(&key_pem, "PRIVATE KEY").take(1));
    let parts: Vec<u8> = parts.collect::<Vec<_>>().join("\n").into_bytes();
    Identity::from_pem(&parts).map_err(|_| failed(&CLIENT_CERT, certificate, UNREADABLE, RULE))
}

const UNREADABLE: &str = "it contains an unreadable certificate";

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| UNREADABLE)?;
    if found.is_empty() { Err("it contains no certificate") } else { Ok(found) }
}

/// The blocks of a PEM file whose label ends in `label`.
fn blocks<'a>(pem: &'a [u8], label: &'a str) -> impl Iterator<Item = String> + 'a {
    let text = String::from_utf8_lossy(pem).into_owned();
    let found: Vec<String> = text
        .split("-----BEGIN ")
        .skip(1)
        .filter(|block| block.split_once("-----").is_some_and(|(found, _)| found.ends_with(label)))
        .map(|block| format!("-----BEGIN {}\n", block.trim_end()))
        .collect();
    found.into_iter()
}

fn read(setting: &Setting, path: &Path, rule: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|problem| failed(setting, path, &problem.to_string(), rule))
}

fn failed(setting: &Setting, path: &Path, problem: &str, rule: &str) -> Error {
    let Setting { name, variable, .. } = setting;
    Error::configuration(format!(
        "{name} is '{}' (from the argument {name}= or the environment variable {variable}): {problem}; {rule}",
        path.display()
    ))
}

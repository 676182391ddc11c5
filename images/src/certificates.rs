//! `certs.d`: certificate authorities and a client certificate for one registry, in a directory of its name.
//!
//! ```text
//! <certs.d>/<host>[:<port>]/*.crt             authorities, beside those of the system
//! <certs.d>/<host>[:<port>]/NAME.cert, .key   the client certificate and its private key
//! ```
//!
//! Read by the coordinator; the registry worker gets the bytes. The first directory that exists counts, as in other tools.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::small_file::{self, By};

/// The most bytes of one file.
const MAX_FILE: usize = 1024 * 1024;
/// The most bytes of all authorities: `SSL_CERT_FILE` and those of `certs.d`.
const MAX_AUTHORITIES: usize = 8 * 1024 * 1024;

/// What a registry's certificate is checked against, and who we are to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// PEM text of authorities; empty: none but the system's.
    pub(crate) authorities: Vec<u8>,
    /// The authorities replace those of the system.
    pub(crate) exclusive: bool,
    /// PEM text of a client certificate and its key.
    pub(crate) identity: Option<Vec<u8>>,
}

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub enum CertificatesError {
    /// A directory of a registry cannot be listed.
    #[error("cannot list the certificates in {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// A file cannot be read.
    #[error("cannot read the certificates in {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file does not contain what its name says.
    #[error("cannot use {}: there is no PEM {} in it", .0.display(), .1)]
    NotPem(PathBuf, &'static str),
    /// `SSL_CERT_FILE` cannot be used.
    #[error("cannot check the certificate of {0}: SSL_CERT_FILE names no file of certificates")]
    Bundle(String, #[source] Box<CertificatesError>),
    /// The private key has a password.
    #[error("cannot use {}: the private key is encrypted", .0.display())]
    Encrypted(PathBuf),
    /// Only one half of a client certificate is there.
    #[error("cannot use {}: {} is missing beside it", .0.display(), .1.display())]
    Half(PathBuf, PathBuf),
    /// There are two client certificates.
    #[error("cannot choose between the client certificates {} and {}", .0.display(), .1.display())]
    Two(PathBuf, PathBuf),
}

impl CertificatesError {
    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Half(present, _) if present.extension() == Some(OsStr::new("cert")) => Some(
                "NAME.cert is a client certificate and needs NAME.key; a certificate authority is called NAME.crt"
                    .to_owned(),
            ),
            Self::Bundle(..) => {
                Some("where it is not set, the authorities of this system count".to_owned())
            }
            Self::Directory(path, error) | Self::Read(path, error)
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                let host = path.components().rev().find_map(|part| {
                    let text = part.as_os_str().to_string_lossy().into_owned();
                    (!has_known_extension(Path::new(&text))).then_some(text)
                })?;
                Some(format!(
                    "a directory of your own hides it: ~/.config/containers/certs.d/{host}"
                ))
            }
            _ => None,
        }
    }
}

impl Certificates {
    /// Those of `host`, below the first of `directories` that has a directory for it; authorities in the file `bundle`
    /// replace the system's.
    ///
    /// # Errors
    /// [`CertificatesError`].
    pub(crate) fn load(
        directories: &[PathBuf],
        host: &str,
        bundle: Option<&Path>,
    ) -> Result<Self, CertificatesError> {
        let mut found = Self::default();
        if let Some(path) = bundle {
            let unusable = |error| CertificatesError::Bundle(host.to_owned(), Box::new(error));
            found.authorities = certificates(path, MAX_AUTHORITIES).map_err(unusable)?;
            found.exclusive = true;
        }
        for directory in directories {
            let directory = directory.join(host);
            if let Some(names) = list(&directory)? {
                found.add(&names)?;
                break;
            }
        }
        Ok(found)
    }

    fn add(&mut self, names: &[PathBuf]) -> Result<(), CertificatesError> {
        let mut client: Option<&PathBuf> = None;
        for path in names {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => {
                    let text = certificates(path, MAX_FILE)?;
                    self.authorities.extend_from_slice(&text);
                    self.authorities.push(b'\n');
                }
                Some("cert") => {
                    if let Some(other) = client.replace(path) {
                        return Err(CertificatesError::Two(other.clone(), path.clone()));
                    }
                    self.identity = Some(identity(path)?);
                }
                Some("key") => {
                    let certificate = path.with_extension("cert");
                    if !names.contains(&certificate) {
                        return Err(CertificatesError::Half(path.clone(), certificate));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn identity(certificate: &Path) -> Result<Vec<u8>, CertificatesError> {
    let key = certificate.with_extension("key");
    let mut text = certificates(certificate, MAX_FILE)?;
    if !key.exists() {
        return Err(CertificatesError::Half(certificate.to_owned(), key));
    }
    let secret = pem(&key, MAX_FILE, "private key", b"PRIVATE KEY-----")?;
    if contains(&secret, b"ENCRYPTED") {
        return Err(CertificatesError::Encrypted(key));
    }
    text.push(b'\n');
    text.extend_from_slice(&secret);
    Ok(text)
}

/// The files of a directory, sorted; none when there is no such directory.
fn list(directory: &Path) -> Result<Option<Vec<PathBuf>>, CertificatesError> {
    let failed = |error| CertificatesError::Directory(directory.to_owned(), error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.path());
    }
    names.sort_unstable();
    Ok(Some(names))
}

/// The text of a file that must have certificates in it.
fn certificates(path: &Path, limit: usize) -> Result<Vec<u8>, CertificatesError> {
    pem(path, limit, "certificate", b"CERTIFICATE-----")
}

/// The text of a file that must have a PEM section of this kind in it.
fn pem(
    path: &Path,
    limit: usize,
    what: &'static str,
    ending: &[u8],
) -> Result<Vec<u8>, CertificatesError> {
    let text = required(path, limit)?;
    if contains(&text, b"-----BEGIN ") && contains(&text, ending) {
        return Ok(text);
    }
    Err(CertificatesError::NotPem(path.to_owned(), what))
}

fn required(path: &Path, limit: usize) -> Result<Vec<u8>, CertificatesError> {
    small_file::required(path, limit, By::Place)
        .map_err(|error| CertificatesError::Read(path.to_owned(), error))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn has_known_extension(path: &Path) -> bool {
    matches!(
        path.extension().and_then(OsStr::to_str),
        Some("crt" | "cert" | "key")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";

    fn load(files: &[(&str, &str)]) -> Result<Certificates, String> {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("h.test:5000");
        std::fs::create_dir(&directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        let directories = [root.path().join("missing"), root.path().to_owned()];
        Certificates::load(&directories, "h.test:5000", None).map_err(|error| error.to_string())
    }

    #[test]
    fn authorities_and_one_client_certificate_are_read() {
        let found = load(&[
            ("ca.crt", CERTIFICATE),
            ("ca2.crt", CERTIFICATE),
            ("me.cert", CERTIFICATE),
            ("me.key", KEY),
            ("README", "x"),
        ])
        .unwrap();
        assert_eq!(found.authorities.len(), 2 * (CERTIFICATE.len() + 1));
        assert!(!found.exclusive);
        let identity = String::from_utf8(found.identity.unwrap()).unwrap();
        assert!(identity.starts_with(CERTIFICATE) && identity.ends_with(KEY));
        assert_eq!(load(&[]).unwrap(), Certificates::default());
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        for (files, part) in [
            (&[("me.cert", CERTIFICATE)][..], "me.key is missing"),
            (&[("me.key", KEY)], "me.cert is missing"),
            (&[("ca.crt", "DER")], "no PEM certificate"),
            (
                &[("me.cert", CERTIFICATE), ("me.key", CERTIFICATE)],
                "no PEM private key",
            ),
            (
                &[
                    ("me.cert", CERTIFICATE),
                    ("me.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
                ],
                "encrypted",
            ),
            (
                &[
                    ("a.cert", CERTIFICATE),
                    ("a.key", KEY),
                    ("b.cert", CERTIFICATE),
                    ("b.key", KEY),
                ],
                "cannot choose",
            ),
        ] {
            let error = load(files).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_bundle_replaces_the_systems_authorities() {
        let root = tempfile::tempdir().unwrap();
        let bundle = root.path().join("bundle.pem");
        assert!(Certificates::load(&[], "h", Some(&bundle)).is_err());
        std::fs::write(&bundle, "").unwrap();
        assert!(Certificates::load(&[], "h", Some(&bundle)).is_err());
        std::fs::write(&bundle, CERTIFICATE).unwrap();
        let found = Certificates::load(&[], "h", Some(&bundle)).unwrap();
        assert!(found.exclusive && found.authorities == CERTIFICATE.as_bytes());
    }
}

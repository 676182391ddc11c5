//! What a user types to name an image: `host/repository[:tag][@digest]`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
//! `docker-archive:FILE[:TAG]`.
//!
//! There are no short names: a name without a registry would have to be guessed, and whoever owns the guess owns the
//! pod. The grammar is that of the OCI distribution specification, with IPv6 hosts in brackets.

mod grammar;
mod local;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, DigestError};
use crate::escape;
use grammar::{check_host, check_repository, check_tag};
pub use local::ArchiveFormat;

/// Longest `host/repository` that is accepted.
const LONGEST_NAME: usize = 255;

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageName {
    /// A repository of a registry.
    Registry(Reference),
    /// A directory in the OCI image layout.
    Layout {
        /// Absolute path.
        directory: PathBuf,
        /// Which of its images; absent: it must have only one.
        tag: Option<String>,
    },
    /// A tar archive with images.
    Archive {
        /// How it holds them.
        format: ArchiveFormat,
        /// Absolute path, or `-` for standard input.
        file: PathBuf,
        /// Which of its images; absent: it must have only one.
        tag: Option<String>,
    },
}

/// An image in a registry. It has a tag, a digest, or both; with both the digest decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host name or address, with `:port` when one was given.
    pub host: String,
    /// Repository, without the host.
    pub repository: String,
    /// Tag; `latest` when neither a tag nor a digest was given.
    pub tag: Option<String>,
    /// Digest of an index or a manifest.
    pub digest: Option<Digest>,
}

/// Why a name is not the name of an image.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing.
    #[error("image name is empty")]
    Empty,
    /// There is no registry in it.
    #[error(
        "image name '{given}' has no registry: write the host too, for example docker.io/{given}"
    )]
    NoHost {
        /// As given.
        given: String,
    },
    /// A transport that skua does not know.
    #[error(
        "image name '{given}' begins with an unknown transport: known are docker://, oci:, oci-archive: and docker-archive:"
    )]
    Transport {
        /// As given.
        given: String,
    },
    /// The host is not one.
    #[error(
        "image name '{given}' has an invalid registry host '{host}': a name in lower case or an address, with a port or without"
    )]
    Host {
        /// As given.
        given: String,
        /// The part that is wrong.
        host: String,
    },
    /// Upper-case letters in the repository.
    #[error("image name '{given}' has upper-case letters in its repository: write '{lower}'")]
    UpperCase {
        /// As given.
        given: String,
        /// The repository in lower case.
        lower: String,
    },
    /// The repository has not the form of the specification.
    #[error(
        "image name '{given}' has an invalid repository '{repository}': components of a-z and 0-9, separated by '/', joined by '.', '_', '__' or '-'"
    )]
    Repository {
        /// As given.
        given: String,
        /// The part that is wrong.
        repository: String,
    },
    /// The tag has not the form of the specification.
    #[error(
        "image name '{given}' has an invalid tag '{tag}': 1 to 128 of a-z, A-Z, 0-9, '_', '.' and '-'"
    )]
    Tag {
        /// As given.
        given: String,
        /// The part that is wrong.
        tag: String,
    },
    /// The digest is not one.
    #[error("image name '{given}' has an invalid digest")]
    Digest {
        /// As given.
        given: String,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// It is too long.
    #[error("image name '{given}' is longer than {LONGEST_NAME} characters")]
    TooLong {
        /// As given, cut.
        given: String,
    },
    /// The path of a layout or an archive is empty or cannot be made absolute.
    #[error("image name '{given}' has no usable path")]
    Path {
        /// As given.
        given: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ImageName {
    /// Parses what a user typed. Relative paths are made absolute and links in them resolved, so that the name says
    /// where the image is.
    ///
    /// # Errors
    /// [`ReferenceError`], with what to write instead where that is known.
    pub fn parse(given: &str) -> Result<Self, ReferenceError> {
        Self::parse_with(given, local::absolute)
    }

    /// Parses a canonical name that was recorded. Nothing is resolved: what was there then may be gone.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn parse_recorded(given: &str) -> Result<Self, ReferenceError> {
        Self::parse_with(given, |path| Ok(path.to_owned()))
    }

    fn parse_with(
        given: &str,
        resolve: impl Fn(&Path) -> std::io::Result<PathBuf>,
    ) -> Result<Self, ReferenceError> {
        match local::parse(given, resolve)? {
            Some(local) => Ok(local),
            None => Reference::parse(given).map(Self::Registry),
        }
    }

    /// Whether it is an archive from standard input: it can be read once, and says nothing about where it comes from.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        matches!(self, Self::Archive { file, .. } if local::is_stdin(file))
    }

    /// The scope of trust it belongs to: `host/repository`, `oci:/directory`, `oci-archive:/file` or
    /// `docker-archive:/file`.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Registry(reference) => format!("{}/{}", reference.host, reference.repository),
            Self::Layout { directory, .. } => format!("oci:{}", directory.display()),
            Self::Archive { format, file, .. } => {
                format!("{}{}", format.transport(), file.display())
            }
        }
    }

    /// The digest that the name itself demands.
    #[must_use]
    pub fn pinned(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) => reference.digest,
            Self::Layout { .. } | Self::Archive { .. } => None,
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = match self {
            Self::Registry(reference) => return fmt::Display::fmt(reference, f),
            Self::Layout { tag, .. } | Self::Archive { tag, .. } => tag,
        };
        f.write_str(&self.identity())?;
        match tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for ImageName {
    type Err = ReferenceError;
    fn from_str(given: &str) -> Result<Self, ReferenceError> {
        Self::parse(given)
    }
}

impl Reference {
    /// Parses `[docker://]host/repository[:tag][@digest]`.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn parse(given: &str) -> Result<Self, ReferenceError> {
        let shown = || escape::text(given.as_bytes());
        let name = match given.split_once("://") {
            Some(("docker", name)) => name,
            Some(_) => return Err(ReferenceError::Transport { given: shown() }),
            None => given,
        };
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(parse_digest(given, digest)?)),
            None => (name, None),
        };
        let (host, path) = match name.split_once('/') {
            _ if name.is_empty() => return Err(ReferenceError::Empty),
            _ if has_transport(name) => return Err(ReferenceError::Transport { given: shown() }),
            Some((host, path)) if looks_like_host(host) => (host, path),
            _ => {
                let given = escape::text(name.as_bytes());
                return Err(ReferenceError::NoHost { given });
            }
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        check_host(given, host)?;
        check_repository(given, repository)?;
        if let Some(tag) = tag {
            check_tag(given, tag)?;
        }
        if host.len() + repository.len() >= LONGEST_NAME {
            return Err(ReferenceError::TooLong { given: shown() });
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        let (host, repository) = docker_hub(host, repository);
        Ok(Self {
            host,
            repository,
            tag,
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(given: &str) -> Result<Self, ReferenceError> {
        Self::parse(given)
    }
}

fn parse_digest(given: &str, digest: &str) -> Result<Digest, ReferenceError> {
    Digest::parse(digest).map_err(|source| ReferenceError::Digest {
        given: escape::text(given.as_bytes()),
        source,
    })
}

/// The first component is a host when it could not be the first component of a repository of Docker's short names.
fn looks_like_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

/// `docker-daemon:x`, `dir:/x`: a name of another tool's transport, neither `name:tag` nor `host:port`.
fn has_transport(name: &str) -> bool {
    let port = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    [
        "docker-daemon:",
        "containers-storage:",
        "dir:",
        "sif:",
        "ostree:",
    ]
    .iter()
    .any(|transport| name.strip_prefix(transport).is_some_and(|rest| !port(rest)))
}

/// Docker Hub has two names and leaves out `library/`: one image must have one name, or trust would be decided for the
/// other.
fn docker_hub(host: &str, repository: &str) -> (String, String) {
    match host {
        "docker.io" | "index.docker.io" if !repository.contains('/') => {
            ("docker.io".to_owned(), format!("library/{repository}"))
        }
        "index.docker.io" => ("docker.io".to_owned(), repository.to_owned()),
        _ => (host.to_owned(), repository.to_owned()),
    }
}

#[cfg(test)]
mod tests;

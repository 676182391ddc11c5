//! Why a fetch failed. Messages of workers arrive as text: they are foreign and escaped before they are kept.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::budget::TooMuch;
use super::protocol::Fault;
use super::rollback::{MovedBack, PastUnknown};
use super::workers::{Lost, SpawnError};
use crate::certificates::CertificatesError;
use crate::credentials::CredentialsError;
use crate::digest::Digest;
use crate::escape;
use crate::evidence::EvidenceError;
use crate::registries::RegistriesError;
use crate::store::StoreError;
use crate::strict_json::JsonError;
use crate::trust::Refusal;

/// What a worker says went wrong.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Told(String);

impl Told {
    /// Foreign text, made printable.
    pub(super) fn new(text: &str) -> Self {
        Self(escape::message(text.as_bytes()))
    }
}

/// A failed step of a fetch.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The auth files.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// `certs.d` or `SSL_CERT_FILE`.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// `registries.conf`.
    #[error("cannot fetch {name}")]
    Registries {
        /// The image.
        name: String,
        /// Why not.
        #[source]
        source: Box<RegistriesError>,
    },
    /// Certificates cannot be given to the worker.
    #[error("cannot hand certificates to the registry worker")]
    HandOver(#[source] io::Error),
    /// A layout or archive.
    #[error("cannot open {what} {}", .path.display())]
    Open {
        /// Which of them.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An archive is something else.
    #[error("image archive {} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Nobody pipes an archive.
    #[error("cannot read an image archive from standard input: it is a terminal")]
    Terminal,
    /// Standard input is unusable.
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    /// An archive from standard input would be forgotten.
    #[error("an image archive from standard input has no name of its own")]
    Nameless(String),
    /// A worker could not be started.
    #[error("cannot start the {0} worker")]
    Spawn(&'static str, #[source] SpawnError),
    /// A worker does not follow the protocol or has died.
    #[error("cannot {doing}")]
    Worker {
        /// What it was to do.
        doing: String,
        /// What is known of it.
        #[source]
        source: Box<Lost>,
    },
    /// A worker speaks out of turn.
    #[error("the {0} worker gave an answer that was not asked for")]
    OutOfTurn(&'static str),
    /// No pipe between workers.
    #[error("cannot make a pipe")]
    Pipe(#[source] io::Error),
    /// A document or layer could not be had.
    #[error("cannot fetch {what} of {name}")]
    Get {
        /// Which.
        what: String,
        /// Of which image.
        name: String,
        /// What the source worker says.
        #[source]
        source: Told,
    },
    /// It is not there.
    #[error("{name} has no {what}")]
    NotFound {
        /// What is missing.
        what: String,
        /// In which image.
        name: String,
        /// What the source worker says.
        #[source]
        source: Told,
    },
    /// The bytes are not those of the digest.
    #[error("{what} of {name} is not what its digest says: {wanted} was asked for, {found} came")]
    Digest {
        /// Which.
        what: String,
        /// Of which image.
        name: String,
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// The length is not that of the descriptor.
    #[error("{what} of {name} has not the {size} bytes that its descriptor says")]
    Size {
        /// Which.
        what: String,
        /// Of which image.
        name: String,
        /// What the descriptor says.
        size: u64,
    },
    /// It is larger than its kind may be.
    #[error("{what} of {name} has more than the {limit} bytes allowed")]
    TooLarge {
        /// Which.
        what: String,
        /// Of which image.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// A document is not strict JSON of its kind.
    #[error("cannot parse {what} of {name}")]
    Parse {
        /// Which.
        what: String,
        /// Of which image.
        name: String,
        /// Why not.
        #[source]
        source: JsonError,
    },
    /// A document is well-formed and still not acceptable.
    #[error("{what} of {name} is unusable: {reason}")]
    Document {
        /// Which.
        what: String,
        /// Of which image.
        name: String,
        /// Why, escaped.
        reason: String,
    },
    /// No manifest fits this machine.
    #[error("{name} has no image for {wanted}; it has {offered}")]
    Platform {
        /// The image.
        name: String,
        /// This machine.
        wanted: String,
        /// What the index offers, escaped.
        offered: String,
    },
    /// A registry said "not modified" though nothing is known.
    #[error("the registry says that nothing has changed, but nothing was known")]
    NotModified,
    /// Not trusted.
    #[error(transparent)]
    Refused(Refusal),
    /// A tag was moved to an older image.
    #[error(transparent)]
    MovedBack(Box<MovedBack>),
    /// Whether a tag was moved to an older image cannot be told.
    #[error(transparent)]
    PastUnknown(Box<PastUnknown>),
    /// Evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// All layers together are more than one image may have.
    #[error("the layers of {name} have more than {limit} {what}")]
    Limit {
        /// The image.
        name: String,
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// A layer is to be compared with itself.
    #[error("cannot compare layer {0} with what is unpacked again")]
    Compare(Digest, #[source] crate::pack::PackError),
    /// The image is not the one in the store any more.
    #[error("{name} is {found} by now, not {wanted}: there is nothing to compare with")]
    OtherImage {
        /// The image.
        name: String,
        /// The one in the store.
        wanted: Digest,
        /// What is found.
        found: Digest,
    },
    /// A layer's blob was to be kept.
    #[error("layer {digest} of {name} is not what its digest says, so it is not kept")]
    Kept {
        /// The layer's blob.
        digest: Digest,
        /// The image.
        name: String,
    },
    /// The kept part of a layer.
    #[error("cannot keep the partial download {}", .0.display())]
    Part(PathBuf, #[source] io::Error),
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {digest} of {name}")]
    Unpack {
        /// The layer's blob.
        digest: Digest,
        /// The image.
        name: String,
        /// Whose fault it is.
        fault: Fault,
        /// What the unpack worker says.
        #[source]
        source: Told,
    },
}

impl FetchError {
    pub(super) fn worker(doing: impl Into<String>, source: Lost) -> Self {
        Self::Worker {
            doing: doing.into(),
            source: Box::new(source),
        }
    }

    pub(super) fn limit(name: &str, (what, limit): TooMuch) -> Self {
        Self::Limit {
            name: name.to_owned(),
            what,
            limit,
        }
    }

    /// The image is refused for what it is, and would be again.
    pub(super) fn is_for_good(&self) -> bool {
        match self {
            Self::Limit { .. } => true,
            Self::Unpack { fault, .. } => *fault == Fault::Layer,
            _ => false,
        }
    }

    /// The trust policy said no.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// A tag was moved to an older image, or may have been.
    #[must_use]
    pub fn is_downgrade(&self) -> bool {
        matches!(self, Self::MovedBack(_) | Self::PastUnknown(_))
    }

    /// In which way bytes are wrong.
    pub(super) fn wrong_bytes(&self) -> String {
        match self {
            Self::Digest { wanted, found, .. } => format!("{wanted} was asked for, {found} came"),
            Self::Size { size, .. } => format!("they are not the {size} that the descriptor says"),
            Self::Unpack { source, .. } => source.to_string(),
            Self::Kept { .. } => "they are not what the digest says".to_owned(),
            other => crate::wire::error_line(other),
        }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::Certificates(error) => error.hint(),
            Self::Credentials(CredentialsError::Foreign(_, _, foreign)) => {
                Some(foreign.hint().to_owned())
            }
            Self::Registries { source, .. } => source.hint(),
            Self::MovedBack(back) => Some(back.hint()),
            Self::PastUnknown(unknown) => Some(unknown.hint()),
            Self::Unpack {
                fault: Fault::Full, ..
            } => Some(
                "'skua image gc --grace-period=0s' removes what no image needs, and downloads that broke off"
                    .to_owned(),
            ),
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotADirectory => Some(
                "a directory is oci:DIRECTORY; a file is oci-archive:FILE, or docker-archive:FILE"
                    .to_owned(),
            ),
            Self::NotAFile(path) if path.is_dir() => {
                Some(format!("a directory is oci:{}", path.display()))
            }
            Self::Store(StoreError::Owner(_, _, e)) if e.kind() == io::ErrorKind::InvalidInput => {
                Some(
                    "root has not the ids of layers here: in a container, below 'unshare --user', or in a unit with PrivateUsers="
                        .to_owned(),
                )
            }
            Self::Worker { source, .. } => source.hint(),
            Self::Nameless(source) => Some(format!(
                "give it one with 'skua fetch --as HOST/REPOSITORY:TAG {source}'"
            )),
            _ => None,
        }
    }
}

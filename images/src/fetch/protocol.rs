//! What the coordinator and its workers say to each other, over [`crate::wire`].
//!
//! ```text
//! coordinator → source worker (registry or layout)   RegistryJob, Endpoint… | LayoutJob; then Request…
//! source worker → coordinator                        Answer…, on the answer socket of each Request
//! coordinator → unpack worker                        UnpackJob
//! unpack worker → coordinator                        UnpackSays::More, answered by an Amount, …; then UnpackSays::Done
//! ```
//!
//! The bytes asked for go through a pipe of their own: for a document the coordinator reads it, for a layer an unpack worker.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::credentials::Login;
use crate::digest::Digest;
use crate::unpack::{Amount, Expect, LayerReport, Limits};

/// The first message to a registry worker; then comes an [`Endpoint`] for each place, in the order in which to ask them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryJob {
    /// How many places there are.
    pub endpoints: usize,
}

/// One place that may have the image. Its descriptors are PEM text: certificate authorities, then a client certificate and
/// its key, each if there is one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `host` or `host:port`.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// It is the place that the image's name says.
    pub own: bool,
    /// How to reach it.
    pub transport: Transport,
    /// Accept any certificate.
    pub any_certificate: bool,
    /// The system's authorities do not count.
    pub no_system_authorities: bool,
    /// There is a descriptor with authorities.
    pub has_authorities: bool,
    /// There is a descriptor with a client certificate.
    pub has_identity: bool,
    /// The one credential that belongs to this repository.
    pub login: Option<Login>,
}

/// Whether there is TLS between us and the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// There must be.
    Https,
    /// There is none, as the user wants it.
    Http,
    /// The registry is on this machine: without at first, with it when the registry does not understand that.
    Loopback,
    /// The registry's configuration calls it insecure: with it at first, without when the registry does not understand that.
    Insecure,
}

/// The first message to a layout worker, with a descriptor of the directory or the archive; with an archive comes an empty
/// file for what must be copied to be read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutJob {
    /// What the descriptor is.
    pub kind: LayoutKind,
}

/// A form of local images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayoutKind {
    /// A directory in the OCI image layout.
    Directory,
    /// A tar archive of one.
    OciArchive,
    /// An archive of `docker save`.
    DockerArchive,
}

/// A request. Its descriptors are the pipe to write to, the answer socket and, for a blob that is kept for resuming, the
/// file that has or gets its first bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is wanted.
    pub get: Get,
    /// Places, counted in the order of the job, that are not to be asked: they have served other bytes than were asked for.
    pub avoid: BTreeSet<usize>,
}

/// What is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Get {
    /// A manifest or index.
    Manifest {
        /// A tag or digest; absent: the only one of a layout.
        name: Option<String>,
        /// Not when it is still this version.
        etag: Option<String>,
        /// At most so many bytes.
        limit: u64,
    },
    /// The index of manifests that have this digest as their subject.
    Referrers {
        /// The digest.
        digest: Digest,
        /// At most so many bytes.
        limit: u64,
    },
    /// A config, layer or signature payload.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its exact size.
        size: u64,
        /// The version that the kept bytes belong to.
        etag: Option<String>,
    },
}

/// What a source worker says about one request, in this order: `Started` (for a blob), `Progress`…, one of the
/// others; and `From` and `PassedOver` at any time before that.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Answer {
    /// A place failed, and the next one is asked: the whole message.
    PassedOver(String),
    /// The bytes that follow are this place's.
    From(usize),
    /// A blob's first answer has come.
    Started {
        /// The version the registry calls it.
        etag: Option<String>,
    },
    /// So many bytes of the blob have been written in all.
    Progress(u64),
    /// Everything has been written.
    Done {
        /// The media type that the source gives the document.
        media_type: Option<String>,
        /// The version the registry calls it.
        etag: Option<String>,
    },
    /// It is still the version of `Get::Manifest::etag`.
    NotModified,
    /// There is no such manifest or blob.
    NotFound(String),
    /// Whoever reads the pipe has closed it.
    ReceiverGone,
    /// It could not be had: the whole message.
    Failed(String),
}

/// The job of an unpack worker; with it come the pipe with the layer's bytes and the directory to fill.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackJob {
    /// What the layer must be.
    pub expect: Expect,
    /// Everything becomes the caller's.
    pub squash: bool,
    /// What it may cost. Entries and bytes are those of all layers; of these it asks for its part.
    pub limits: Limits,
}

/// What an unpack worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum UnpackSays {
    /// It needs at least so much more than it was given, and waits for an [`Amount`]: nothing when it cannot have it.
    More(Amount),
    /// It has ended.
    Done(UnpackAnswer),
}

/// How unpacking ended.
pub type UnpackAnswer = Result<LayerReport, UnpackFailure>;

/// Why a layer was not unpacked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackFailure {
    /// The whole message, with causes.
    pub message: String,
    /// What was wrong.
    pub fault: Fault,
}

/// Whose fault it is that a layer was not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The bytes were not those of the digest, or not as many: they must not be used again.
    Corrupt,
    /// The layer is refused for what it is, and would be again.
    Layer,
    /// There was no space for it.
    Full,
    /// Something failed here.
    Here,
}

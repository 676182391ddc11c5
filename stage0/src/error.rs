//! What stage0 can fail at: a variant for each step.

mod boxed;
mod hint;
mod print;
mod typed;

use std::io;
use std::path::PathBuf;

use pod::{NetworkName, PodId, PodName, State};

use crate::find::Holder;
use crate::libexec::Named;
use crate::output;

pub(crate) use print::{ErrorFormat, joined};

/// A step of stage0 that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Standard output does not take what we print.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// No directory of the user is known.
    #[error(
        "cannot tell where your data is kept: neither XDG_DATA_HOME nor HOME is an absolute path"
    )]
    Home,
    /// The working directory is gone, or a path is empty.
    #[error("cannot make {} an absolute path", .0.display())]
    Absolute(PathBuf, #[source] io::Error),
    /// The path of our own program is unknown.
    #[error("cannot find the program of skua itself: /proc/self/exe")]
    OwnProgram(#[source] io::Error),
    /// The manual pages cannot be written.
    #[error("cannot write manual pages into {}", .0.display())]
    ManPages(PathBuf, #[source] io::Error),
    /// An image's configuration says something that cannot be done.
    #[error("{field} '{value}' of image {image} is not {form}")]
    ImageConfig {
        /// The image.
        image: String,
        /// The field of its configuration.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        form: &'static str,
    },
    /// Neither the image nor the command line names a program.
    #[error("image {0} names no program to run")]
    NoProgram(String),
    /// `config.toml` cannot be read or says something wrong.
    #[error("cannot load {}", .0.display())]
    Settings(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others could have written what is in the data directory.
    #[error("refusing data directory {}", .0.display())]
    DataDirectory(PathBuf, #[source] io::Error),
    /// A directory of configuration cannot be listed, or is not there.
    #[error("cannot read the configuration in {}", .0.display())]
    ConfigDirectory(PathBuf, #[source] io::Error),
    /// A conflist is not one.
    #[error("cannot read the name in conflist {}: {why}", .path.display())]
    Conflist {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Two files describe the same network.
    #[error("network '{name}' is described twice: {} and {}", .files[0].display(), .files[1].display())]
    AmbiguousNetwork {
        /// The network.
        name: NetworkName,
        /// The files.
        files: [PathBuf; 2],
    },
    /// There is no such network.
    #[error("there is no network '{0}'")]
    NoNetwork(NetworkName, Vec<String>),
    /// A file takes a built-in network away.
    #[error("there is no network '{}': {} is empty, and stands in the place of the built-in one", .0, .1.display())]
    MaskedNetwork(NetworkName, PathBuf),
    /// The network that is to be had when the command line names none.
    #[error("cannot use the network that {} names", .0.display())]
    NetworkOf(PathBuf, #[source] Box<Error>),
    /// There is no such pod.
    #[error("there is no pod '{}'", output::escaped(.0))]
    NoPod(String),
    /// Several pods are meant.
    #[error("'{given}' is the beginning of several UUIDs: {}", crate::find::list(.pods))]
    AmbiguousPod {
        /// As typed.
        given: String,
        /// All that it could mean.
        pods: Vec<PodId>,
    },
    /// A file that should hold a UUID.
    #[error("cannot read the UUID in {}", .0.display())]
    UuidFile(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such pod as a file names.
    #[error("there is no pod {}, whose UUID is in {}", .0, .1.display())]
    NoPodOfFile(PodId, PathBuf),
    /// The pod lives.
    #[error("pod {0} is running")]
    Running(PodId),
    /// The pod does not live.
    #[error("pod {} is not running: {}", .0, instead(*.1))]
    NotRunning(PodId, State),
    /// The pod does not wait to be run.
    #[error("pod {0} is not prepared: {1}")]
    NotPrepared(PodId, &'static str),
    /// The pod has waited for too long.
    #[error("pod {0} has expired: it was prepared and not run for longer than gc keeps it")]
    Expired(PodId),
    /// What should be known of a pod.
    #[error(transparent)]
    Record(#[from] crate::record::RecordError),
    /// Another process works on the pod.
    #[error("pod {0} is being worked on by another process")]
    Busy(PodId),
    /// The pod was removed while we waited for it.
    #[error("pod {0} was removed while it was waited for")]
    RemovedMeanwhile(PodId),
    /// The kernel does not tell when a prepared pod is run.
    #[error("cannot watch pod {0}")]
    Watch(PodId, #[source] io::Error),
    /// What a pod left could not be cleared away.
    #[error("cannot heal pod {0}")]
    Heal(PodId, #[source] Box<Error>),
    /// A pod's directory cannot be removed.
    #[error("cannot remove {}", .0.display())]
    Remove(PathBuf, #[source] io::Error),
    /// The kernel does not tell the time since boot.
    #[error("cannot read the clock of this boot")]
    Clock(#[source] io::Error),
    /// A stage cannot be executed.
    #[error("cannot execute {}", .0.display())]
    Exec(PathBuf, Named, #[source] io::Error),
    /// The descriptor of the lock cannot be handed on.
    #[error("cannot hand the lock of the pod on")]
    InheritLock(#[source] io::Error),
    /// An errand of stage1 failed.
    #[error("stage1 {entrypoint} failed: {why}")]
    Stage1 {
        /// What it was to do.
        entrypoint: &'static str,
        /// What it said, or how it ended.
        why: String,
        /// What can be done about it.
        hint: Option<String>,
    },
    /// The unit that started us asks for what we do not do.
    #[error("{what}")]
    Unit {
        /// What we cannot do.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// A running pod cannot be told something.
    #[error("cannot {what} pod {pod}")]
    Tell {
        /// What it was to be told.
        what: &'static str,
        /// The pod.
        pod: PodId,
        /// Why.
        source: Box<Error>,
    },
    /// The name of an image is not one.
    #[error(transparent)]
    Reference(#[from] images::reference::ReferenceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] images::store::StoreError),
    /// A lock of images.
    #[error(transparent)]
    Lock(#[from] crate::lock::LockError),
    /// A `policy.json` of containers.
    #[error("cannot import {}", .0.display())]
    Import(PathBuf, #[source] Box<images::trust::ImportError>),
    /// The policy cannot be loaded.
    #[error(transparent)]
    Trust(#[from] images::trust::TrustError),
    /// The policy refuses an image.
    #[error(transparent)]
    Refusal(#[from] images::trust::Refusal),
    /// The policy refuses an image, and everything about it was printed.
    #[error(transparent)]
    Untrusted(images::trust::Refusal),
    /// A digest in a pod's manifest is not one.
    #[error("the manifest of the pod has an invalid digest")]
    Digest(#[from] images::digest::DigestError),
    /// Signatures cannot be read or kept.
    #[error(transparent)]
    Evidence(#[from] images::evidence::EvidenceError),
    /// Unneeded parts of the store cannot be removed.
    #[error("cannot clear the image store")]
    CollectImages(#[source] Box<images::gc::GcError<Error>>),
    /// A layer is not what was unpacked.
    #[error("image {image} was changed in the store: {}", .path.display())]
    LayerChanged {
        /// The image.
        image: String,
        /// What was changed, or had something added or removed in it.
        path: PathBuf,
    },
    /// Whether a layer of an image was changed cannot be told.
    #[error("cannot tell whether image {} was changed in the store: {} is a copy, or an older skua unpacked it; --contents compares the files", .0, .1.display())]
    LayerUnknown(String, PathBuf),
    /// A layer is not what is unpacked again.
    #[error("image {image} was changed in the store: layer {layer}: {difference}")]
    ContentChanged {
        /// The image.
        image: String,
        /// The layer.
        layer: images::digest::Digest,
        /// What differs first.
        difference: images::pack::Difference,
    },
    /// A layer that was changed cannot be unpacked again.
    #[error("cannot repair image {0}: somebody is using layer {1}")]
    LayerBusy(String, images::digest::Digest),
    /// An image cannot be exported.
    #[error("cannot export image {0}")]
    Export(String, #[source] Box<images::export::ExportError>),
    /// The layers of an image cannot be looked at.
    #[error("cannot verify image {0}")]
    Verify(String, #[source] Box<images::pack::PackError>),
    /// An image cannot be extracted.
    #[error("cannot extract image {0}")]
    Extract(String, #[source] Box<images::pack::PackError>),
    /// A directory cannot take what is extracted, or others could change it there: its owner, who its mode lets write.
    #[error("cannot extract into {}", .0.display())]
    ExtractInto(PathBuf, #[source] io::Error),
    #[error("cannot extract into {}: others can write there (user {owner} owns it, mode {mode:04o})", .0.display(), owner = .1, mode = .2)]
    ExtractAmongOthers(PathBuf, u32, u32),
    #[error("cannot write {}", .0.display())]
    WriteFile(PathBuf, #[source] io::Error),
    /// An image is missing and must not be fetched.
    #[error("image {0} is not in the store")]
    NotInStore(String),
    /// An image that is to be removed is missing.
    #[error("image {0} is not in the store")]
    NothingToRemove(String),
    /// A file of the host that the command line names is not there, or is nothing that this process may look at.
    #[error("cannot find {}, which {flag} names", .path.display())]
    HostPath {
        /// The flag.
        flag: &'static str,
        /// The file, made absolute.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel does not tell of our parent's end.
    #[error("cannot ask for a signal at the end of the process that started us")]
    DeathSignal(#[source] io::Error),
    /// Our parent ended at once.
    #[error("the process that started us has ended")]
    ParentGone,
    /// The data directory cannot be locked.
    #[error("cannot lock {}", .0.display())]
    LockData(PathBuf, #[source] io::Error),
    /// A living pod has the name.
    #[error("the name '{0}' is taken by pod {1}")]
    NameTaken(PodName, PodId, Holder),
    /// `--uuid-file-save` cannot be done.
    #[error("cannot write the UUID of the pod into {}", .0.display())]
    UuidFileSave(PathBuf, #[source] io::Error),
    /// The kernel gives no random bytes.
    #[error("cannot make a UUID")]
    Random(#[source] io::Error),
    /// `registries.conf`.
    #[error(transparent)]
    Registries(#[from] images::registries::RegistriesError),
    /// An image cannot be fetched.
    #[error(transparent)]
    Fetch(Box<images::fetch::FetchError>),
    /// A worker's own failure.
    #[error(transparent)]
    Worker(Box<crate::worker::WorkerError>),
    /// The policy cannot be loaded.
    #[error(transparent)]
    Policy(#[from] pod::policy::PolicyError),
    /// What the unit gives and the apps claim do not agree.
    #[error(transparent)]
    Socket(#[from] crate::given::SocketError),
    /// A credential that an app claims.
    #[error(transparent)]
    Credential(#[from] crate::given::CredentialError),
    /// The policy does not allow what was asked for.
    #[error(transparent)]
    Bound(#[from] pod::policy::Violation),
    /// A file or directory of a pod.
    #[error(transparent)]
    Pod(#[from] pod::Error),
}

impl Error {
    /// A mistake on the command line, with what to do about it.
    pub(crate) fn usage(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.map(str::to_owned),
        }
    }

    /// Why a pod could not be told to `what`.
    pub(crate) fn tell(what: &'static str, pod: &PodId) -> impl FnOnce(Self) -> Self {
        let pod = pod.clone();
        move |source| Self::Tell {
            what,
            pod,
            source: Box::new(source),
        }
    }

    /// A stable name of the kind of failure, for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Output(_)
            | Self::ManPages(..)
            | Self::ExtractInto(..)
            | Self::ExtractAmongOthers(..)
            | Self::WriteFile(..) => "output",
            Self::Home | Self::Absolute(..) | Self::OwnProgram(_) | Self::Random(_) => {
                "environment"
            }
            Self::Reference(_) => "image-name",
            Self::Store(_)
            | Self::NotInStore(_)
            | Self::NothingToRemove(_)
            | Self::Digest(_)
            | Self::CollectImages(_)
            | Self::LayerChanged { .. }
            | Self::LayerUnknown(..)
            | Self::ContentChanged { .. }
            | Self::LayerBusy(..)
            | Self::Export(..)
            | Self::Verify(..)
            | Self::Extract(..) => "store",
            Self::Policy(_) | Self::Bound(_) => "policy",
            Self::Refusal(_) | Self::Untrusted(_) => "not-trusted",
            Self::Fetch(error) if error.is_refusal() => "not-trusted",
            Self::Fetch(error) if error.is_downgrade() => "downgrade",
            Self::Fetch(_) => "fetch",
            Self::Worker(_) => "worker",
            Self::DeathSignal(_) | Self::ParentGone => "parent",
            Self::HostPath { .. } | Self::LockData(..) | Self::UuidFileSave(..) => "prepare",
            Self::Lock(_) => "lock",
            Self::Trust(_) | Self::Import(..) | Self::Evidence(_) => "trust",
            Self::ImageConfig { .. } | Self::NoProgram(_) => "image-config",
            Self::Settings(..)
            | Self::ConfigDirectory(..)
            | Self::DataDirectory(..)
            | Self::Registries(_) => "config",
            Self::Conflist { .. }
            | Self::AmbiguousNetwork { .. }
            | Self::NoNetwork(..)
            | Self::MaskedNetwork(..) => "network",
            Self::NoPod(_)
            | Self::NoPodOfFile(..)
            | Self::AmbiguousPod { .. }
            | Self::UuidFile(..) => "no-pod",
            Self::Running(_)
            | Self::NotRunning(..)
            | Self::NotPrepared(..)
            | Self::Expired(_)
            | Self::Busy(_)
            | Self::RemovedMeanwhile(_)
            | Self::NameTaken(..) => "pod-state",
            Self::Exec(..) | Self::InheritLock(_) | Self::Stage1 { .. } => "handover",
            Self::Unit { .. } | Self::Socket(_) | Self::Credential(_) => "unit",
            Self::Tell { source, .. } | Self::NetworkOf(_, source) => source.code(),
            Self::Record(_) | Self::Watch(..) => "pod",
            Self::Heal(..) | Self::Remove(..) | Self::Clock(_) | Self::Pod(_) => "pod",
        }
    }
}

/// What a pod does that does not run.
fn instead(state: State) -> &'static str {
    match state {
        State::Embryo | State::Prepare => "it is being prepared",
        State::Prepared => "it is prepared",
        State::Run | State::ExitedGarbage | State::Garbage => "it has ended",
    }
}

//! What the user can do about an error, where we know.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use images::fetch::FetchError;
use images::small_file::Foreign;
use pod::State;

use super::Error;
use crate::find::{self, Holder};
use crate::worker::WorkerError;

impl Error {
    /// What the user can do about it, where we know.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => hint.clone(),
            Self::Unit { hint, .. } => Some((*hint).to_owned()),
            Self::Socket(error) => Some(error.hint()),
            Self::Credential(error) => error.hint(),
            Self::Home => Some("set HOME, or name the directory with --data-dir".to_owned()),
            Self::DataDirectory(..) => Some(
                "whoever can write it says what is in it: make a new one with --data-dir, or remove it and fetch and prepare again"
                    .to_owned(),
            ),
            Self::NoProgram(_) => Some("name one with --exec PROGRAM, or after '--'".to_owned()),
            Self::Refusal(refusal) => Some(refusal.hint()).filter(|hint| !hint.is_empty()),
            Self::Worker(error) => error.hint(),
            Self::Fetch(error) => self.of_fetch(error).filter(|hint| !hint.is_empty()),
            Self::Absolute(_, e) if e.kind() == ErrorKind::NotFound => {
                Some("the working directory is gone: change into another one".to_owned())
            }
            Self::Trust(error) => error.hint(),
            Self::NoNetwork(_, known) => Some(format!(
                "there are {}; 'skua config' names the file of each",
                known.join(", ")
            )),
            Self::MaskedNetwork(_, file) => Some(format!(
                "remove {} to have the built-in one, or write a conflist of that name",
                file.display()
            )),
            Self::NoPod(word) if find::is_short_prefix(word) => Some(
                "skua list shows all pods; the beginning of a UUID counts from eight characters on".to_owned(),
            ),
            Self::NoPod(_) | Self::NoPodOfFile(..) => Some("skua list shows all pods".to_owned()),
            Self::Bound(_) => Some("skua config prints every bound and its file".to_owned()),
            Self::Record(error) => Some(error.hint()),
            Self::Heal(_, error) | Self::Tell { source: error, .. } => error.hint(),
            Self::Stage1 { hint, .. } => hint.clone(),
            Self::NotRunning(id, State::Prepared) => Some(format!("skua run-prepared {id}")),
            Self::NameTaken(_, id, Holder::Dead) => Some(format!(
                "that one is dead and could not be undone: 'skua gc' tries again and says why; 'skua rm --abandon-networks {id}' gives its networks up"
            )),
            Self::NameTaken(_, id, Holder::Living) => Some(format!(
                "a name is free when its pod has ended: 'skua status {id}' shows that one"
            )),
            Self::Running(id) => Some(of_running(id)),
            Self::Expired(_) => Some(
                "prepare it again; expire-prepared in config.toml, or gc --expire-prepared=TIME, says how long a pod may wait"
                    .to_owned(),
            ),
            Self::Exec(_, named, _) => Some(named.hint().to_owned()),
            Self::NetworkOf(_, error) => error.hint(),
            Self::HostPath { flag, source, .. } => of_host_path(flag, source),
            Self::Pod(pod::Error::Link(_)) => Some(
                "--data-dir, or a link in the place of the whole data directory, puts it elsewhere with all that is in it; so does a mount"
                    .to_owned(),
            ),
            Self::Pod(error) if error.is_malformed() => Some(
                "what is lost of a record does not come back: 'skua status' tells what is known, 'skua rm' removes the pod"
                    .to_owned(),
            ),
            Self::Pod(_) | Self::Store(_) | Self::LockData(..) => self.of_storage(),
            _ => self.of_images(),
        }
    }

    /// What can be done about images in the store, and on their way out of it.
    fn of_images(&self) -> Option<String> {
        match self {
            Self::NotInStore(image) => Some(format!("skua fetch {image}")),
            Self::NothingToRemove(_) => Some("'skua image list' lists those that are".to_owned()),
            Self::ContentChanged { image, .. } => {
                Some(format!("skua image verify --contents --repair {image}"))
            }
            Self::LayerBusy(..) => Some(
                "pods that run from it, or another command: 'skua list' shows them, and it can be repaired when they have ended"
                    .to_owned(),
            ),
            Self::LayerChanged { image, .. } | Self::LayerUnknown(image, _) => {
                Some(format!("skua image verify --repair {image}"))
            }
            Self::CollectImages(error) => error.pods()?.hint(),
            Self::ExtractInto(_, e) => of_directory(e),
            Self::ExtractAmongOthers(..) => Some(
                "name a directory that does not exist yet, or an empty one of your own with mode 0700"
                    .to_owned(),
            ),
            Self::WriteFile(_, e) if e.kind() == ErrorKind::AlreadyExists => {
                Some("nothing is replaced: remove it first, or name another".to_owned())
            }
            Self::Export(_, error) => error.hint(),
            Self::Verify(_, error) | Self::Extract(_, error) => error.hint(),
            _ => self.of_foreign(),
        }
    }

    /// What can be done about a file that others could have written.
    fn of_foreign(&self) -> Option<String> {
        let mut cause = self.source();
        while let Some(error) = cause {
            let inside = error.downcast_ref().and_then(io::Error::get_ref);
            if let Some(foreign) = inside.and_then(|error| error.downcast_ref::<Foreign>()) {
                return Some(foreign.hint().to_owned());
            }
            cause = error.source();
        }
        None
    }

    /// What can be done about a fetch: the reasons of a worker that could not be started are ours, and so is the disk.
    fn of_fetch(&self, error: &FetchError) -> Option<String> {
        let known = match error {
            FetchError::Spawn(_, source) => source.downcast_ref().and_then(WorkerError::hint),
            _ => error.hint(),
        };
        let of_store = || match error {
            FetchError::Store(_) | FetchError::Part(..) => self.of_storage(),
            _ => None,
        };
        known.or_else(of_store)
    }

    /// What can be done where the data directory cannot be written or read: the cause says which of these it is.
    fn of_storage(&self) -> Option<String> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = self.source();
        let mut kind = None;
        while let Some(error) = cause {
            kind = error.downcast_ref().map(io::Error::kind).or(kind);
            cause = error.source();
        }
        match kind? {
            ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory => {
                Some("--data-dir names another directory for images and pods".to_owned())
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
                "'skua gc' and 'skua image gc' make room; --data-dir names another directory for images and pods"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// What can be done about a directory that does not take files.
fn of_directory(error: &io::Error) -> Option<String> {
    let why = match error.kind() {
        ErrorKind::DirectoryNotEmpty => "it must be empty, or not there yet",
        ErrorKind::NotFound => "the directory in which it is to be made must be there",
        _ => return None,
    };
    Some(why.to_owned())
}

/// `skua stop` does not wait: what was refused would be refused again right after it.
fn of_running(id: &pod::PodId) -> String {
    format!("'skua stop {id}' asks it to end, 'skua status --wait {id}' waits until it has")
}

/// What can be done about a file of the host that is not found.
fn of_host_path(flag: &str, error: &io::Error) -> Option<String> {
    match (flag, error.kind()) {
        ("--volume", ErrorKind::NotFound) => {
            Some("make it first: skua makes no file or directory of the host".to_owned())
        }
        _ => None,
    }
}

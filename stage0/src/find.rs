//! Finding the pods that a command line means: by the beginning of a UUID, by name, or by a file with a UUID.

use std::path::{Path, PathBuf};

use clap::Args;
use images::small_file::{self, By};
use pod::{DataDir, Pod, PodId, PodManifest, PodName, State};

use crate::error::Error;
use crate::record::{self, Record, RecordError};

/// The most bytes of a file with a UUID.
const MAX_UUID_FILE: usize = 64;
/// The fewest characters that count as the beginning of a UUID: all up to its first dash. With fewer, the name of a pod that
/// is gone (`db`, `cafe`) could be that of another pod.
const MIN_PREFIX: usize = 8;

// One pod.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(crate) struct OnePod {
    /// UUID of the pod, its first eight characters or more, or its name
    #[arg(value_name = "UUID")]
    uuid: Option<String>,
    /// The pod of this name
    #[arg(long, value_name = "NAME")]
    name: Option<PodName>,
    /// The pod whose UUID is in FILE
    #[arg(long, value_name = "FILE")]
    uuid_file: Option<PathBuf>,
}

// One or more pods.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true)]
pub(crate) struct SomePods {
    /// UUIDs of pods, their first eight characters or more, or their names
    #[arg(value_name = "UUID")]
    uuids: Vec<String>,
    /// A pod of this name
    #[arg(long, value_name = "NAME")]
    name: Vec<PodName>,
    /// A pod whose UUID is in FILE
    #[arg(long, value_name = "FILE")]
    uuid_file: Vec<PathBuf>,
}

impl OnePod {
    /// The pod that `word` means: see [`OnePod::find`].
    pub(crate) fn of_word(word: String) -> Self {
        Self {
            uuid: Some(word),
            name: None,
            uuid_file: None,
        }
    }

    /// The pod whose UUID is in `file`.
    pub(crate) fn of_file(file: PathBuf) -> Self {
        Self {
            uuid: None,
            name: None,
            uuid_file: Some(file),
        }
    }

    /// The pod.
    pub(crate) fn find(&self, data: &DataDir) -> Result<Pod, Error> {
        match (&self.uuid, &self.name, &self.uuid_file) {
            (Some(word), _, _) => by_word(data, word),
            (_, Some(name), _) => by_name(data, name),
            (_, _, Some(file)) => by_file(data, file),
            (None, None, None) => Err(Error::usage("no pod is named", None)),
        }
    }
}

impl SomePods {
    /// The pods, each once, and why others cannot be found.
    pub(crate) fn find(&self, data: &DataDir) -> Found {
        let by_word = self.uuids.iter().map(|word| by_word(data, word));
        let by_name = self.name.iter().map(|name| by_name(data, name));
        let by_file = self.uuid_file.iter().map(|file| by_file(data, file));
        let mut all = Found::default();
        for found in by_word.chain(by_name).chain(by_file) {
            match found {
                Ok(pod) if all.pods.iter().any(|known| known.id == pod.id) => {}
                Ok(pod) => all.pods.push(pod),
                Err(error) => all.failures.push(error),
            }
        }
        all
    }
}

/// What is found of some pods.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Those that are there.
    pub(crate) pods: Vec<Pod>,
    /// Why others are not.
    pub(crate) failures: Vec<Error>,
}

/// A whole UUID, a name, or the beginning of a UUID: in this order, so that a name is never taken for something else.
fn by_word(data: &DataDir, word: &str) -> Result<Pod, Error> {
    if let Ok(id) = PodId::parse(word) {
        return Pod::find(data, &id).ok_or_else(|| Error::NoPod(word.to_owned()));
    }
    match PodName::parse(word).map(|name| by_name(data, &name)) {
        Ok(Err(Error::NoPod(_))) | Err(_) => by_prefix(data, word),
        Ok(found) => found,
    }
}

fn could_begin_a_uuid(word: &str) -> bool {
    word.bytes()
        .all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `word` could be the beginning of a UUID, but is too short to be taken for one.
pub(crate) fn is_short_prefix(word: &str) -> bool {
    (1..MIN_PREFIX).contains(&word.len()) && could_begin_a_uuid(word)
}

fn by_prefix(data: &DataDir, prefix: &str) -> Result<Pod, Error> {
    if prefix.len() < MIN_PREFIX || !could_begin_a_uuid(prefix) {
        return Err(Error::NoPod(prefix.to_owned()));
    }
    let mut found = Pod::list(data)?;
    found.retain(|pod| pod.id.as_str().starts_with(prefix));
    match found.len() {
        0 => Err(Error::NoPod(prefix.to_owned())),
        1 => Ok(found.remove(0)),
        _ => Err(Error::AmbiguousPod {
            given: prefix.to_owned(),
            pods: found.into_iter().map(|pod| pod.id).collect(),
        }),
    }
}

/// UUIDs, for a sentence.
pub(crate) fn list(pods: &[PodId]) -> String {
    let ids: Vec<&str> = pods.iter().map(PodId::as_str).collect();
    ids.join(", ")
}

/// The living pod of a name; else the one that was made last: a unit that is started again leaves its old pods until
/// they are collected.
pub(crate) fn by_name(data: &DataDir, name: &PodName) -> Result<Pod, Error> {
    let Named { mut pods, unknown } = named(data, name)?;
    pods.sort_by_key(|(pod, manifest)| (is_living(pod), manifest.created.clone()));
    match (pods.pop(), unknown) {
        (Some((pod, _)), None) => Ok(pod),
        (Some((pod, _)), Some(_)) if is_living(&pod) => Ok(pod),
        (_, Some(error)) => Err(error),
        (None, None) => Err(Error::NoPod(name.to_string())),
    }
}

/// The pods of a name.
pub(crate) struct Named {
    /// All that are known to have it, where they were found last.
    pub(crate) pods: Vec<(Pod, Box<PodManifest>)>,
    /// Why it is not known of a living pod which name it has.
    pub(crate) unknown: Option<Error>,
}

/// Who has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A pod that runs or will run.
    Living,
    /// A pod whose keeper is gone, and which could not be healed.
    Dead,
}

/// A pod that has its name for itself: it has not ended.
pub(crate) fn is_living(pod: &Pod) -> bool {
    pod.state <= State::Run
}

/// All pods of a name. One of which a crash left no manifest has none.
pub(crate) fn named(data: &DataDir, name: &PodName) -> Result<Named, Error> {
    let (mut pods, mut unknown) = (Vec::new(), None);
    for pod in Pod::list(data)? {
        let (id, living) = (pod.id.clone(), is_living(&pod));
        match record::of(pod) {
            Ok(Record::Whole(pod, manifest)) if manifest.name.as_ref() == Some(name) => {
                pods.push((pod, manifest));
            }
            Ok(_) => {}
            Err(error) if living => {
                unknown.get_or_insert(RecordError::NameUnknown(id, Box::new(error)).into());
            }
            Err(_) => {}
        }
    }
    Ok(Named { pods, unknown })
}

fn by_file(data: &DataDir, file: &Path) -> Result<Pod, Error> {
    let bytes = small_file::required(file, MAX_UUID_FILE, By::CommandLine)
        .map_err(|e| Error::UuidFile(file.to_owned(), e.into()))?;
    let id = PodId::parse(String::from_utf8_lossy(&bytes).trim_end())
        .map_err(|e| Error::UuidFile(file.to_owned(), e.into()))?;
    Pod::find(data, &id).ok_or_else(|| Error::NoPodOfFile(id, file.to_owned()))
}

//! The manifest of a pod which others may start, end or remove meanwhile, and of which a crash may have left no manifest.

use pod::{Pod, PodId, PodManifest, State};

use crate::error::Error;

/// How often a pod is looked for again when it moves on between two looks.
const ATTEMPTS: usize = 5;

/// What should be known of a pod, and is not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// A living pod may have any name.
    #[error("cannot tell the name of pod {0}")]
    NameUnknown(PodId, #[source] Box<Error>),
    /// One that was prepared may refer to any image.
    #[error("cannot tell which images pod {0} was prepared from")]
    ImagesUnknown(PodId, #[source] pod::Error),
    /// For good.
    #[error("its record is lost")]
    Lost(#[source] pod::Error),
}

impl RecordError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NameUnknown(id, _) => format!(
                "skua rm {id}, unless it runs; until then other pods are found by their whole UUID"
            ),
            Self::ImagesUnknown(id, _) => {
                format!("it can never be run: 'skua rm {id}' or 'skua gc' removes it")
            }
            Self::Lost(_) => "'skua rm' or 'skua gc' removes it".to_owned(),
        }
    }
}

/// What is known of a pod.
#[derive(Debug)]
pub(crate) enum Record {
    /// The pod, where it was found last, and its manifest.
    Whole(Pod, Box<PodManifest>),
    /// It has none yet, or it is gone. Who prepares a pod holds leases on its images until it has one.
    None,
    /// The manifest is lost and nobody holds the pod: it is dead, or was prepared and can never be run.
    Lost(Pod, pod::Error),
}

/// Looks for the manifest of a pod. An error: it cannot be read now, and what it says may be needed.
pub(crate) fn of(mut pod: Pod) -> Result<Record, Error> {
    let mut missing = None;
    for _ in 0..ATTEMPTS {
        let error = match pod::load(&pod.dir().manifest()) {
            Ok(manifest) => return Ok(Record::Whole(pod, Box::new(manifest))),
            Err(error) => error,
        };
        match Pod::find(&pod.data, &pod.id) {
            // It moves on, or back to `prepared`, while we look.
            None => missing = None,
            Some(found) if found.state != pod.state => pod = found,
            Some(_) if !error.is_missing() => return torn(pod, error),
            // Removal takes the manifest last, after everything else. What has ended uses no layer.
            Some(_) if matches!(pod.state, State::Embryo | State::Prepare) => {
                return Ok(Record::None);
            }
            Some(_) => missing = Some(error),
        }
    }
    match missing {
        Some(_) if matches!(pod.state, State::ExitedGarbage | State::Garbage) => Ok(Record::None),
        Some(error) => torn(pod, error),
        None if Pod::find(&pod.data, &pod.id).is_none() => Ok(Record::None),
        None => Err(Error::Busy(pod.id)),
    }
}

fn torn(pod: Pod, error: pod::Error) -> Result<Record, Error> {
    match is_lost(pod.state, &error) && !pod.is_locked()? {
        true => Ok(Record::Lost(pod, error)),
        false => Err(error.into()),
    }
}

/// Whether a pod in `state` that nobody holds can be anything but garbage after its manifest could not be loaded. One that is
/// prepared may be of a skua that writes other fields, which can run it.
pub(crate) fn is_lost(state: State, error: &pod::Error) -> bool {
    match state {
        State::Prepared => error.is_missing() || error.is_torn(),
        _ => error.is_missing() || error.is_malformed(),
    }
}

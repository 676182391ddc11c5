//! Which images and layers pods refer to.

use images::digest::Digest;
use images::gc::InUse;
use pod::{DataDir, Pod, State};

use crate::error::Error;
use crate::record::{self, Record, RecordError};

/// What all pods refer to, whatever their state. A pod that cannot be read is an error: what it refers to is unknown. A dead
/// one whose manifest is lost refers to nothing any more.
pub(crate) fn by_pods(data: &DataDir) -> Result<InUse, Error> {
    by(data, |_| true)
}

/// What running pods refer to: they have it mounted.
pub(crate) fn by_running_pods(data: &DataDir) -> Result<InUse, Error> {
    by(data, |state| state == State::Run)
}

fn by(data: &DataDir, counts: impl Fn(State) -> bool) -> Result<InUse, Error> {
    let mut in_use = InUse::default();
    let pods = Pod::list(data)?.into_iter();
    for pod in pods.filter(|pod| counts(pod.state)) {
        let manifest = match record::of(pod)? {
            Record::Whole(_, manifest) => manifest,
            // Its manifest was brought to the disk: that it is torn is no crash's doing, and may be mended.
            Record::Lost(pod, error) if pod.state == State::Prepared => {
                return Err(RecordError::ImagesUnknown(pod.id, error).into());
            }
            Record::Lost(..) | Record::None => continue,
        };
        for (image, layers) in manifest.images() {
            in_use.manifests.insert(Digest::parse(&image.manifest)?);
            for layer in layers {
                in_use.trees.insert(Digest::parse(&layer.diff_id)?);
            }
        }
    }
    Ok(in_use)
}

//! Which images and layers pods refer to.

use std::io;

use images::digest::Digest;
use images::gc::InUse;
use pod::{DataDir, Pod, PodManifest, State};

use crate::error::Error;

/// How often a pod is looked for again when it moves on between two looks.
const ATTEMPTS: usize = 5;

/// What all pods refer to, whatever their state. A pod that cannot be read is an error: what it refers to is unknown.
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
        let Some(manifest) = manifest(data, pod)? else {
            continue;
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

/// The manifest of a pod, if it has one yet: who prepares it holds leases on its images until it has.
fn manifest(data: &DataDir, mut pod: Pod) -> Result<Option<PodManifest>, Error> {
    for _ in 0..ATTEMPTS {
        let error = match pod::load(&pod.dir().manifest()) {
            Err(pod::Error::Read(path, e)) if e.kind() == io::ErrorKind::NotFound => {
                pod::Error::Read(path, e)
            }
            loaded => return Ok(Some(loaded?)),
        };
        match Pod::find(data, &pod.id) {
            None => return Ok(None),
            Some(found) if found.state != pod.state => pod = found,
            // Removal takes the manifest last, after everything else. What has ended uses no layer.
            Some(found)
                if matches!(
                    found.state,
                    State::Embryo | State::Prepare | State::ExitedGarbage | State::Garbage
                ) =>
            {
                return Ok(None);
            }
            Some(_) => return Err(error.into()),
        }
    }
    Err(Error::Busy(pod.id))
}

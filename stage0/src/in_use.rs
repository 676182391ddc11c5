//! Which layers pods refer to.

use std::collections::HashSet;
use std::io;

use images::digest::Digest;
use pod::{DataDir, Pod, PodManifest, State};

use crate::error::Error;

/// How often a pod is looked for again when it moves on between two looks.
const ATTEMPTS: usize = 5;

/// The diff ids of the layers of all pods, whatever their state. A pod that cannot be read is an error: what it refers to
/// is unknown.
pub(crate) fn layers(data: &DataDir) -> Result<HashSet<Digest>, Error> {
    let mut layers = HashSet::new();
    for pod in Pod::list(data)? {
        let Some(manifest) = manifest(data, pod)? else {
            continue;
        };
        for layer in manifest.apps.iter().flat_map(|app| &app.layers) {
            layers.insert(Digest::parse(&layer.diff_id)?);
        }
    }
    Ok(layers)
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
            // Removal takes the manifest last, after everything else.
            Some(found)
                if matches!(found.state, State::Embryo | State::Prepare | State::Garbage) =>
            {
                return Ok(None);
            }
            Some(_) => return Err(error.into()),
        }
    }
    Err(Error::Busy(pod.id))
}

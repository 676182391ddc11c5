//! An archive of our own becomes files in a directory of the user's: by the same code, and as confined, as a layer.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use super::{ExtractAnswer, PackError, Packing};
use crate::fetch::workers::Workers;
use crate::unpack::{self, LayerReport, Limits, Ownership, Piped};
use crate::wire::{Channel, WireError, error_line};

const EXTRACT: &str = "extract";

/// The job of an extract worker; with it comes the pipe with the archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractJob {
    /// Everything becomes the caller's.
    pub squash: bool,
}

/// Makes the files of `packing` in the empty directory `into`.
///
/// # Errors
/// [`PackError`]. The directory must then be emptied.
pub fn extract(
    workers: &dyn Workers,
    packing: Packing,
    into: BorrowedFd<'_>,
    squash: bool,
) -> Result<LayerReport, PackError> {
    let spawned = workers.extract(into);
    let worker = spawned.map_err(|error| PackError::Spawn(EXTRACT, error))?;
    let lost = |error| Box::new(worker.lost(EXTRACT, error));
    let descriptors = [packing.archive().as_fd()];
    let job = ExtractJob { squash };
    worker.channel.send(&job, &descriptors).map_err(lost)?;
    // Our own end of the pipe goes with `finish`, so each worker notices when the other one dies.
    let packed = packing.finish();
    let (answer, _) = worker.channel.receive::<ExtractAnswer>().map_err(lost)?;
    let report = answer.map_err(|said| PackError::told(&said));
    match (packed, report) {
        // What could not be read explains why the archive ends too early; what could not be written, why nobody read on.
        (Err(PackError::Unread), report) | (Ok(_), report) => report,
        (Err(packed), _) => Err(packed),
    }
}

/// The worker's side: unpacks into `root`.
///
/// # Errors
/// When the conversation with the coordinator breaks; an archive that cannot be unpacked is an answer.
pub fn serve_extract(channel: &Channel, root: BorrowedFd<'_>) -> Result<(), WireError> {
    let (job, descriptors): (ExtractJob, _) = channel.receive()?;
    let archive = descriptors.into_iter().next().ok_or(WireError::Closed)?;
    let ownership = match job.squash {
        true => Ownership::Squash,
        false => Ownership::Keep,
    };
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut input = Piped::new(File::from(archive));
    let unpacked = unpack::plain(&mut input, root, ownership, &Limits::default());
    // Whoever writes must not be left with a full pipe.
    drop(input);
    let answer: ExtractAnswer = unpacked.map_err(|error| error_line(&error));
    match channel.send(&answer, &[]) {
        Err(WireError::TooLarge) => channel.send(&answer.map(LayerReport::without_lists), &[]),
        sent => sent,
    }
}

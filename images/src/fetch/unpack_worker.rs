//! The unpack worker's life once it is confined: one layer, from a pipe into the directory that is its root.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use super::protocol::{UnpackFailure, UnpackJob, UnpackSays};
use crate::unpack::{self, Amount, Budget, LayerReport, Ownership, UnpackError};
use crate::wire::{Channel, WireError, error_line};

/// Takes one job, does it, and says how it went.
///
/// # Errors
/// When the conversation with the coordinator breaks; a layer that cannot be unpacked is an answer.
pub fn serve(channel: &Channel, root: BorrowedFd<'_>) -> Result<(), WireError> {
    let (job, descriptors): (UnpackJob, _) = channel.receive()?;
    let Some(blob) = descriptors.into_iter().next() else {
        return Err(WireError::Closed);
    };
    let ownership = if job.squash {
        Ownership::Squash
    } else {
        Ownership::Keep
    };
    // Modes are those of the layer.
    rustix::process::umask(rustix::fs::Mode::empty());
    let blob = File::from(blob);
    let budget = Budget::new(|need| more(channel, need).map_err(io::Error::other));
    let unpacked = unpack::layer(blob, &job.expect, root, ownership, &job.limits, budget);
    let answer = unpacked.map_err(|error| UnpackFailure {
        message: error_line(&error),
        corrupt: is_corrupt(&error),
    });
    match channel.send(&UnpackSays::Done(answer.clone()), &[]) {
        // The lists are for information; what they stand for was left out of the tree.
        Err(WireError::TooLarge) => {
            let short = answer.map(LayerReport::without_lists);
            channel.send(&UnpackSays::Done(short), &[])
        }
        sent => sent,
    }
}

/// Asks for more room.
fn more(channel: &Channel, need: Amount) -> Result<Amount, WireError> {
    channel.send(&UnpackSays::More(need), &[])?;
    let (given, _) = channel.receive()?;
    Ok(given)
}

/// Whether the bytes were not the blob's, as opposed to a blob that cannot be unpacked: that is told only when they were.
fn is_corrupt(error: &UnpackError) -> bool {
    matches!(
        error,
        UnpackError::Digest { .. } | UnpackError::TooLong(_) | UnpackError::TooShort { .. }
    )
}

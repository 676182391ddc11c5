//! The unpack worker's life once it is confined: one layer, from a pipe into the directory that is its root.

use std::fs::File;
use std::os::fd::BorrowedFd;

use super::protocol::{UnpackAnswer, UnpackFailure, UnpackJob};
use crate::unpack::{self, LayerReport, Ownership, UnpackError};
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
    let answer: UnpackAnswer = unpack::layer(blob, &job.expect, root, ownership, &job.limits)
        .map_err(|error| UnpackFailure {
            message: error_line(&error),
            corrupt: is_corrupt(&error),
        });
    match channel.send(&answer, &[]) {
        // The lists are for information; what they stand for was left out of the tree.
        Err(WireError::TooLarge) => channel.send(&answer.map(LayerReport::without_lists), &[]),
        sent => sent,
    }
}

/// Whether the bytes were not the blob's, as opposed to a blob that cannot be unpacked: that is told only when they were.
fn is_corrupt(error: &UnpackError) -> bool {
    matches!(
        error,
        UnpackError::Digest { .. } | UnpackError::TooLong(_) | UnpackError::TooShort { .. }
    )
}

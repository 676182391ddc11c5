//! The unpack worker's life once it is confined: one layer, from a pipe into the directory that is its root.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use super::protocol::{Fault, UnpackFailure, UnpackJob, UnpackSays};
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
        fault: fault(&error),
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

/// Whose fault it was. That of the bytes is told only when they were not the blob's.
fn fault(error: &UnpackError) -> Fault {
    use UnpackError as E;
    const FULL: [io::ErrorKind; 2] = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    match error {
        E::Digest { .. } | E::TooLong(_) | E::TooShort { .. } => Fault::Corrupt,
        E::Make { source, .. } if FULL.contains(&source.kind()) => Fault::Full,
        E::Make { .. } | E::Owner { .. } | E::Read(_) | E::Budget(_) | E::Thread(_) | E::Panic => {
            Fault::Here
        }
        _ => Fault::Layer,
    }
}

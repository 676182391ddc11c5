//! The pack worker's life once it is confined: it reads trees and writes one archive into a pipe.

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::tree::Tree;
use super::view::View;
use super::walk::{Options, Walk, WalkError, measure};
use super::{PackAnswer, PackFailure, PackJob, PackReport, PackTree, What};
use crate::unpack::Device;
use crate::wire::{Channel, WireError, error_line};

/// Bytes that go into the pipe at once.
const BUFFER: usize = 256 << 10;
/// More layers than any image may have.
const MAX_TREES: usize = 1024;

/// What to read. Nothing has been read of it yet.
#[derive(Debug)]
pub struct Input {
    what: What,
    out: OwnedFd,
    trees: Vec<(OwnedFd, Vec<Device>)>,
}

impl Input {
    /// Takes the job from the coordinator.
    ///
    /// # Errors
    /// When the conversation breaks, or a descriptor is missing.
    pub fn receive(channel: &Channel) -> Result<Self, WireError> {
        let (job, descriptors): (PackJob, _) = channel.receive()?;
        let out = descriptors.into_iter().next().ok_or(WireError::Closed)?;
        if job.trees > MAX_TREES {
            return Err(WireError::TooLarge);
        }
        let mut trees = Vec::with_capacity(job.trees);
        for _ in 0..job.trees {
            let (tree, descriptors): (PackTree, _) = channel.receive()?;
            let root = descriptors.into_iter().next().ok_or(WireError::Closed)?;
            trees.push((root, tree.devices));
        }
        let what = job.what;
        Ok(Self { what, out, trees })
    }

    /// The directories below which files will be opened.
    pub fn directories(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.trees.iter().map(|(root, _)| root.as_fd())
    }
}

/// Packs, and says how it went. Call it in a confined process.
///
/// # Errors
/// When the conversation with the coordinator breaks; trees that cannot be packed are an answer.
pub fn serve(channel: &Channel, input: Input) -> Result<(), WireError> {
    let trees = input.trees.into_iter();
    let view = View::new(trees.map(|(root, list)| Tree::new(root, list)).collect());
    // The pipe is closed before the answer, so that whoever reads both can read one after the other.
    let packed = pack(&view, input.what, input.out);
    let answer: PackAnswer = packed.map_err(|error| PackFailure {
        message: error_line(&error),
        unread: matches!(error, WalkError::Write(_)),
    });
    channel.send(&answer, &[])
}

fn pack(view: &View, what: What, out: OwnedFd) -> Result<PackReport, WalkError> {
    let out = BufWriter::with_capacity(BUFFER, File::from(out));
    match what {
        What::Measure { since } => measure(view, since),
        What::Layer => {
            let options = Options {
                as_layer: true,
                without_setuid: false,
            };
            Walk::new(view, out, options).all()
        }
        What::Merged {
            path,
            without_setuid,
        } => {
            let options = Options {
                as_layer: false,
                without_setuid,
            };
            let walk = Walk::new(view, out, options);
            match path {
                Some(path) => walk.one(&path),
                None => walk.all(),
            }
        }
    }
}

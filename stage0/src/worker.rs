//! The hidden subcommand `worker`: one confined step of a fetch. Its standard input is a socket to the coordinator.
//!
//! | step | runs as | sees | may |
//! |---|---|---|---|
//! | `net` | root's: user `skua` or `nobody`; else the caller | certificates, resolver files | connect |
//! | `layout` | the caller, without capabilities | the directory or file it is given | read it |
//! | `unpack` | root of its own user namespace | one layer's directory, as `/` | make files there |
//! | `pack` | the same | trees of the store; the topmost is `/` | read them |
//! | `extract` | root, or the caller, in a user namespace of its own | one directory of the user's, as `/` | make files there |
//! | `empty` | the same as `unpack` | the directory to empty, as `/` | remove files there |
//!
//! All of them: no new privileges, Landlock, a seccomp allow-list, resource limits, no environment but proxies and
//! certificates, no descriptors but the socket, and they die with the coordinator.

mod confine;
mod empty;
mod error;
mod isolate;
mod seccomp;
mod spawn;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use images::fetch::layout_worker::{self, Input};
use images::fetch::unpack_worker;
use images::pack;
use images::wire::Channel;

use crate::error::Error;
pub(crate) use empty::remove;
pub(crate) use error::WorkerError;
pub(crate) use spawn::Spawner;

// What `worker` takes.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The step
    #[arg(value_enum)]
    pub(crate) step: Step,
}

/// A step of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Talks to a registry
    Net,
    /// Reads an image layout or its archive
    Layout,
    /// Unpacks one layer
    Unpack,
    /// Reads layers and makes an archive of them
    Pack,
    /// Makes the files of such an archive
    Extract,
    /// Removes everything in one directory
    Empty,
}

/// Runs the step. It neither reads a file nor a variable of the user.
pub(crate) fn run(args: WorkerArgs) -> Result<ExitCode, Error> {
    work(args.step)?;
    Ok(ExitCode::SUCCESS)
}

fn work(step: Step) -> Result<(), WorkerError> {
    confine::close_inherited()?;
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let channel = Channel::from(socket.map_err(WorkerError::Socket)?);
    match step {
        Step::Net => {
            confine::network()?;
            images::registry::serve(&channel)?;
        }
        Step::Layout => {
            let input = Input::receive(&channel)?;
            confine::layout(input.directory(), input.has_scratch())?;
            layout_worker::serve(&channel, input)?;
        }
        Step::Unpack => {
            let root = isolate::enter(&channel)?;
            confine::unpack(root.as_fd())?;
            unpack_worker::serve(&channel, root.as_fd())?;
        }
        Step::Pack => {
            isolate::enter(&channel)?;
            let input = pack::Input::receive(&channel)?;
            confine::pack(input.directories())?;
            pack::serve(&channel, input)?;
        }
        Step::Extract => {
            let root = isolate::enter(&channel)?;
            confine::unpack(root.as_fd())?;
            pack::serve_extract(&channel, root.as_fd())?;
        }
        Step::Empty => {
            let root = isolate::enter(&channel)?;
            confine::unpack(root.as_fd())?;
            empty::serve(&channel)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

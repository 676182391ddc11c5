//! The coordinator's side of its workers: processes of the program `skua-worker`, with few rights, which handle foreign bytes.

mod conduct;
mod empty;
mod error;
mod spawn;

pub(crate) use empty::remove;
pub(crate) use error::WorkerError;
pub(crate) use spawn::{Spawner, WORKER};

//! The descriptors of local images for the worker that reads them.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::protocol::{LayoutJob, LayoutKind};
use super::source::LAYOUT;
use super::workers::Worker;
use super::{FetchError, Fetcher};
use crate::reference::ArchiveFormat;

/// What a file with an image is called.
const ARCHIVE: &str = "image archive";

/// Starts a worker for the directory `path`.
pub(super) fn layout(fetcher: &Fetcher<'_>, path: &Path) -> Result<Worker, FetchError> {
    let directory = open("image layout", path, OFlags::DIRECTORY)?;
    start(fetcher, LayoutKind::Directory, &directory, &path.display())
}

/// Starts a worker for the archive `path`, which must be a file: a fifo that was made for somebody else is not emptied.
pub(super) fn archive(
    fetcher: &Fetcher<'_>,
    format: ArchiveFormat,
    path: &Path,
) -> Result<Worker, FetchError> {
    let archive = open(ARCHIVE, path, OFlags::empty())?;
    match archive.metadata() {
        Ok(found) if found.is_file() => start(fetcher, kind(format), &archive, &path.display()),
        Ok(_) => Err(FetchError::NotAFile(path.to_owned())),
        Err(error) => Err(unopened(ARCHIVE, path)(error)),
    }
}

/// Starts a worker for the archive on standard input.
pub(super) fn stdin(fetcher: &Fetcher<'_>, format: ArchiveFormat) -> Result<Worker, FetchError> {
    let input = io::stdin();
    if input.is_terminal() {
        return Err(FetchError::Terminal);
    }
    let duplicate = input.as_fd().try_clone_to_owned();
    let archive = File::from(duplicate.map_err(FetchError::Stdin)?);
    start(fetcher, kind(format), &archive, &"standard input")
}

fn kind(format: ArchiveFormat) -> LayoutKind {
    match format {
        ArchiveFormat::Oci => LayoutKind::OciArchive,
        ArchiveFormat::Docker => LayoutKind::DockerArchive,
    }
}

/// Opens without waiting for the other end of a fifo.
fn open(what: &'static str, path: &Path, more: OFlags) -> Result<File, FetchError> {
    File::options()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | more).bits() as i32)
        .open(path)
        .map_err(unopened(what, path))
}

fn unopened(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Open { what, path, source }
}

fn start(
    fetcher: &Fetcher<'_>,
    kind: LayoutKind,
    input: &File,
    place: &dyn fmt::Display,
) -> Result<Worker, FetchError> {
    let scratch = match kind {
        LayoutKind::Directory => None,
        LayoutKind::OciArchive | LayoutKind::DockerArchive => Some(fetcher.store.scratch()?),
    };
    let worker = fetcher
        .workers
        .layout()
        .map_err(|error| FetchError::Spawn(LAYOUT, error))?;
    let descriptors: Vec<_> = std::iter::once(input.as_fd())
        .chain(scratch.iter().map(AsFd::as_fd))
        .collect();
    worker
        .channel
        .send(&LayoutJob { kind }, &descriptors)
        .map_err(|error| {
            FetchError::worker(
                format!("read the image in {place}"),
                worker.lost(LAYOUT, error),
            )
        })?;
    Ok(worker)
}

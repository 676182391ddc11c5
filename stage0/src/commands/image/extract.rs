//! `skua image extract`: the files of an image, into a directory or as a tar archive.

use std::fs::{self, DirBuilder, File, Permissions, ReadDir};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

use images::pack::{PackError, Packing, What};
use images::reference::ImageName;
use images::unpack::LayerReport;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::export::{STDOUT, refuse_terminal};
use crate::context::Context;
use crate::error::Error;
use crate::id_map;
use crate::worker::{self, Spawner};

/// Extracts all of an image, or what is at `path` in it.
pub(super) fn run(
    image: &str,
    path: Option<&str>,
    into: &Path,
    context: &Context,
) -> Result<ExitCode, Error> {
    let name = ImageName::parse(image)?;
    let store = context.store()?;
    let Some(image) = store.image(&name)? else {
        return Err(Error::NotInStore(name.to_string()));
    };
    let squash = !nix::unistd::geteuid().is_root();
    let to_stdout = into == Path::new(STDOUT);
    let what = What::Merged {
        path: path.map(str::to_owned),
        // They would be programs with the caller's rights, for everybody.
        without_setuid: squash && !to_stdout,
    };
    let failed = |e| Error::Extract(name.to_string(), Box::new(e));
    let workers = Spawner::new(id_map::choose(), context.debug);
    let layers: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let start = || Packing::start(&workers, &store, &layers, what).map_err(failed);
    if to_stdout {
        refuse_terminal("an archive")?;
        print(start()?).map_err(|e| match e {
            Printing::Pack(e) => failed(e),
            Printing::Write(e) => Error::Output(e),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let directory = Directory::open(into)?;
    let extracted = start().and_then(|packing| {
        let target = directory.file.as_fd();
        images::pack::extract(&workers, packing, target, squash).map_err(failed)
    });
    match extracted {
        Ok(report) => say(&report),
        Err(error) => {
            directory.clear(context);
            return Err(error);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What of the image is not in the directory.
fn say(report: &LayerReport) {
    match report.devices_skipped {
        0 => {}
        devices => log::warn!("{devices} device nodes were left out"),
    }
    match report.xattrs_dropped.values().sum::<u64>() {
        0 => {}
        dropped => log::warn!("{dropped} extended attributes could not be set"),
    }
}

enum Printing {
    Pack(PackError),
    Write(io::Error),
}

fn print(mut packing: Packing) -> Result<(), Printing> {
    let mut stdout = io::stdout().lock();
    io::copy(&mut packing, &mut stdout)
        .and_then(|_| stdout.flush())
        .map_err(Printing::Write)?;
    packing.finish().map(drop).map_err(Printing::Pack)
}

/// The directory to fill.
struct Directory<'a> {
    path: &'a Path,
    file: File,
    /// It was not there before.
    made: bool,
}

impl<'a> Directory<'a> {
    /// Makes the directory, for its owner alone: an image may have programs that give the rights of their owners. One that is
    /// there must be empty and the caller's, and becomes its owner's alone. All is asked of the descriptor: somebody may have
    /// moved another directory to the path meanwhile.
    fn open(path: &'a Path) -> Result<Self, Error> {
        let failed = |e| Error::ExtractInto(path.to_owned(), e);
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(failed(e)),
        };
        let file = File::options()
            .read(true)
            .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
            .open(path)
            .map_err(failed)?;
        let directory = Self { path, file, made };
        let found = directory.file.metadata().map_err(failed)?;
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        if owner != nix::unistd::geteuid().as_raw() || mode & 0o022 != 0 {
            return Err(Error::ExtractAmongOthers(path.to_owned(), owner, mode));
        }
        if directory.entries().map_err(failed)?.next().is_some() {
            return Err(failed(Errno::ENOTEMPTY.into()));
        }
        if mode & 0o077 != 0 {
            let alone = Permissions::from_mode(0o700);
            directory.file.set_permissions(alone).map_err(failed)?;
            let path = path.display();
            log::warn!("{path} had mode {mode:04o}, and is its owner's alone now (mode 0700)");
        }
        Ok(directory)
    }

    /// What is in the directory that is open, wherever it is by now.
    fn entries(&self) -> io::Result<ReadDir> {
        fs::read_dir(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Removes what was extracted. The first error counts, so that of this is only noted.
    fn clear(&self, context: &Context) {
        let emptied = self.entries().and_then(|mut entries| {
            entries.try_for_each(|entry| worker::remove(&entry?.path(), context.debug))
        });
        let cleared = emptied.and_then(|()| match self.made {
            // Whatever is at the path by now: only what is empty goes.
            true => fs::remove_dir(self.path),
            false => Ok(()),
        });
        if let Err(error) = cleared {
            log::warn!("cannot remove what was extracted: {error}");
        }
    }
}

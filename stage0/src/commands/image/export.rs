//! `skua image export`: an image as an archive that skopeo and podman read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use images::export::{ExportError, Exported, With};
use images::reference::ImageName;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

use crate::context::Context;
use crate::error::Error;
use crate::id_map;
use crate::output;
use crate::worker::Spawner;

/// What stands for standard output.
pub(super) const STDOUT: &str = "-";

/// Writes the archive. A file appears with its whole content or not at all.
pub(super) fn run(
    image: &str,
    file: &Path,
    with: With,
    context: &Context,
) -> Result<ExitCode, Error> {
    let name = ImageName::parse(image)?;
    let store = context.store()?;
    let Some(image) = store.image(&name)? else {
        return Err(Error::NotInStore(name.to_string()));
    };
    let workers = Spawner::new(id_map::choose(), context.debug);
    let failed = |e| Error::Export(name.to_string(), Box::new(e));
    let export = |out: &mut dyn Write| {
        images::export::export(&image, with, &store, &workers, out).map_err(failed)
    };
    let exported = if file == Path::new(STDOUT) {
        refuse_terminal("an image")?;
        let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
        let exported = export(&mut out).map_err(standard_output)?;
        out.flush().map_err(Error::Output)?;
        exported
    } else {
        let target = Target::new(file)?;
        let mut out = BufWriter::with_capacity(1 << 20, &target.file);
        let exported = target.keep_unless_failed(export(&mut out))?;
        let written = out.flush();
        drop(out);
        target.finish(written)?;
        exported
    };
    say(&name, &image.manifest_digest.to_string(), &exported);
    if file != Path::new(STDOUT) {
        output::print(&format!("{}\n", exported.manifest))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What standard output does not take is told as of every command.
fn standard_output(error: Error) -> Error {
    match error {
        Error::Export(image, error) => match *error {
            ExportError::Write(error) => Error::Output(error),
            other => Error::Export(image, Box::new(other)),
        },
        other => other,
    }
}

/// What is not as it was fetched.
fn say(name: &ImageName, manifest: &str, exported: &Exported) {
    if exported.remade > 0 {
        log::warn!(
            "layers of {name} were made again from their files, so the manifest in the archive is {}, not {manifest}: \
             signatures do not cover it; what is fetched with --keep-blobs is exported as it was",
            exported.manifest
        );
    }
    if exported.signatures > 0 {
        log::warn!(
            "the archive has signatures too, so other readers want the image's tag in it (oci-archive:FILE:TAG); \
             podman load reads what is exported with --without-signatures"
        );
    }
    for lost in &exported.lost {
        log::warn!("{lost}");
    }
}

/// Fails when standard output is a terminal.
pub(super) fn refuse_terminal(what: &str) -> Result<(), Error> {
    match io::stdout().is_terminal() {
        true => Err(Error::usage(
            format!("{what} is not written to a terminal"),
            Some("redirect standard output, or name a file"),
        )),
        false => Ok(()),
    }
}

/// A file that is not there yet.
struct Target<'a> {
    path: &'a Path,
    file: File,
    /// It has no name before it is finished, so nothing can be left of it.
    nameless: bool,
}

impl<'a> Target<'a> {
    fn new(path: &'a Path) -> Result<Self, Error> {
        let failed = |e| Error::WriteFile(path.to_owned(), e);
        if fs::symlink_metadata(path).is_ok() {
            return Err(failed(Errno::EEXIST.into()));
        }
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let nameless = OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_TMPFILE.bits())
            .mode(0o644)
            .open(parent);
        let (file, nameless) = match nameless {
            Ok(file) => (file, true),
            // A file system that cannot make one.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                let file = OpenOptions::new().write(true).create_new(true).open(path);
                (file.map_err(failed)?, false)
            }
            Err(e) => return Err(failed(e)),
        };
        Ok(Self {
            path,
            file,
            nameless,
        })
    }

    fn keep_unless_failed<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() && !self.nameless {
            // The first error counts.
            let _ = fs::remove_file(self.path);
        }
        outcome
    }

    /// Gives the file its name.
    fn finish(&self, written: io::Result<()>) -> Result<(), Error> {
        let named = written.and_then(|()| self.file.sync_all()).and_then(|()| {
            if !self.nameless {
                return Ok(());
            }
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let follow = AtFlags::AT_SYMLINK_FOLLOW;
            Ok(linkat(AT_FDCWD, own.as_str(), AT_FDCWD, self.path, follow)?)
        });
        let failed = |e| Error::WriteFile(self.path.to_owned(), e);
        self.keep_unless_failed(named.map_err(failed))
    }
}

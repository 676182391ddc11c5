//! `--uuid-file-save`: telling a file, a pipe or a device the UUID of a new pod.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pod::PodId;

/// The most links that the kernel follows too.
const LINKS: usize = 40;

/// Writes the UUID of `id`. A regular file, or one that is new, appears with its whole content or not at all; of what
/// else is there nothing is replaced: it is opened and written to. Links are followed.
pub(crate) fn save(file: &Path, id: &PodId) -> io::Result<()> {
    let line = format!("{id}\n");
    // First of all: the kernel refuses links here that others have put into a directory like /tmp.
    match fs::metadata(file) {
        Ok(found) if is(&found, io::stdout())? => write(io::stdout(), &line),
        Ok(found) if is(&found, io::stderr())? => write(io::stderr(), &line),
        Ok(found) if found.is_file() => replace(&end(file)?, id, &line),
        Ok(_) => write(File::options().write(true).open(file)?, &line),
        Err(error) if error.kind() == ErrorKind::NotFound => replace(&end(file)?, id, &line),
        Err(error) => Err(error),
    }
}

/// Whether a stream of ours is what was found: what is written to it otherwise would be lost with the replaced file, or
/// lie below what follows.
fn is(found: &Metadata, stream: impl AsFd) -> io::Result<bool> {
    let ours = rustix::fs::fstat(stream)?;
    Ok((found.dev(), found.ino()) == (ours.st_dev, ours.st_ino))
}

fn write(mut to: impl Write, line: &str) -> io::Result<()> {
    to.write_all(line.as_bytes())?;
    to.flush()
}

/// What is at the end of links, which need not be there. A link that another user has made is refused: the kernel has looked at
/// what was there before, and somebody may put a link there now, to a file that would be replaced.
fn end(file: &Path) -> io::Result<PathBuf> {
    let caller = nix::unistd::geteuid().as_raw();
    let mut at = file.to_owned();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&at) {
            Ok(found) if !found.is_symlink() => return Ok(at),
            Ok(found) if ![0, caller].contains(&found.uid()) => {
                return Err(rustix::io::Errno::ACCESS.into());
            }
            Ok(_) => {
                at = at
                    .parent()
                    .unwrap_or(Path::new(""))
                    .join(fs::read_link(&at)?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(at),
            Err(error) => return Err(error),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

fn replace(file: &Path, id: &PodId, line: &str) -> io::Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(format!(".{id}"));
    let written = fs::write(&temporary, line);
    written
        .and_then(|()| fs::rename(&temporary, file))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
}

//! Kernel parameters of the pod's own namespaces.
//!
//! History: runtimes wrote them through a `/proc` that a mount had replaced (CVE-2025-52881). Here the file is opened below a
//! `/proc` that was mounted a moment ago and that no app has seen, without links, and the kernel is asked what it is on.
//!
//! **Runs as** the inside. **Needs** an app's `/proc`, still writable. **Leaves** parameters that read as they were written.
//! **Undone by** the end of the namespaces.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

/// The most bytes that are read back.
const MAX_VALUE: usize = 4096;

/// Writes one, and reads it back. `root` is the root of an app.
pub(crate) fn set(root: BorrowedFd<'_>, name: &str, value: &str) -> io::Result<()> {
    let path = format!("proc/sys/{}", name.replace('.', "/"));
    let how = OpenHow::new()
        .flags(OFlag::O_RDWR | OFlag::O_CLOEXEC)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
    let file = openat2(root, path.as_str(), how)?;
    if fstatfs(&file)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::EXDEV.into());
    }
    let mut file = File::from(file);
    file.write_all(value.as_bytes())?;
    let mut found = [0; MAX_VALUE];
    let length = file.read_at(&mut found, 0)?;
    let found = String::from_utf8_lossy(&found[..length]).into_owned();
    // The kernel separates numbers by tabs.
    if found
        .split_ascii_whitespace()
        .eq(value.split_ascii_whitespace())
    {
        Ok(())
    } else {
        let found = found.trim_end().escape_debug().to_string();
        Err(io::Error::other(format!("the kernel made it '{found}'")))
    }
}

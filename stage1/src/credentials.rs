//! The credentials of an app: a file system of its own, with a copy of each. Their contents are on no disk: not in the pod's directory,
//! which the keeper could write to, and not in swap.
//!
//! That is why it is a ramfs: a tmpfs is swapped out, and the kernel lets only the host's root say `noswap`.
//!
//! **Runs as** the inside. **Needs** the files that stage0 has opened. **Leaves** a mount whose files belong to the pod's root:
//! stage2 knows whose they are to be. **Undone by** the end of the mount namespace.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use pod::{Credential, CredentialName, MAX_CREDENTIAL};

use crate::sys;

/// The files that were given to the pod.
#[derive(Debug, Default)]
pub(crate) struct Credentials(Vec<(CredentialName, File)>);

impl From<Vec<(CredentialName, OwnedFd)>> for Credentials {
    fn from(given: Vec<(CredentialName, OwnedFd)>) -> Self {
        let files = given.into_iter();
        Self(files.map(|(name, file)| (name, file.into())).collect())
    }
}

impl Credentials {
    /// A detached mount that has these.
    pub(crate) fn mount(&self, claimed: &[Credential]) -> io::Result<OwnedFd> {
        let flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        let mount = sys::new_mount(c"ramfs", &[(c"mode", CString::from(c"0500"))], flags)?;
        for credential in claimed {
            let content = self.read(&credential.source)?;
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let mode = Mode::from_bits_truncate(0o400);
            let file = openat(&mount, credential.name.as_str(), flags, mode)?;
            File::from(file).write_all(&content)?;
        }
        Ok(mount)
    }

    /// The content: several apps may claim it, so it is not read where it was left off.
    fn read(&self, wanted: &CredentialName) -> io::Result<Vec<u8>> {
        let file = self.0.iter().find(|(name, _)| name == wanted);
        let (_, file) = file.ok_or(Errno::ENOENT)?;
        let (mut content, mut length) = (vec![0; MAX_CREDENTIAL as usize + 1], 0);
        loop {
            match file.read_at(&mut content[length..], length as u64)? {
                0 => break,
                more => length += more,
            }
        }
        content.truncate(length);
        match length as u64 > MAX_CREDENTIAL {
            true => Err(Errno::EFBIG.into()),
            false => Ok(content),
        }
    }
}

//! One tree of the store, read by descriptors: no link is followed, and nothing outside of it can be named.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::writer::Xattrs;
use crate::store::OPAQUE;
use crate::unpack::Device;

/// Most bytes of the names of one file's attributes, and of one value: the kernel's own limits.
const XATTR_MAX: usize = 64 << 10;

/// An open tree.
pub(super) struct Tree {
    root: OwnedFd,
    /// Devices by their path in the tree.
    devices: BTreeMap<Vec<u8>, Device>,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, devices: Vec<Device>) -> Self {
        let by_path = |device: Device| (device.path.clone().into_bytes(), device);
        Self {
            root,
            devices: devices.into_iter().map(by_path).collect(),
        }
    }

    /// Opens the directory `path`; empty is the root.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }

    /// The devices directly in the directory `path`.
    pub(super) fn devices_in<'a>(
        &'a self,
        path: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a Device)> {
        self.devices.iter().filter_map(move |(name, device)| {
            let rest = match path {
                b"" => name.as_slice(),
                path => name.strip_prefix(path)?.strip_prefix(b"/")?,
            };
            (!rest.is_empty() && !rest.contains(&b'/')).then_some((rest, device))
        })
    }
}

/// The names in an open directory, but for itself and the one above.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Whether an open directory hides those of lower layers.
pub(super) fn is_opaque(directory: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(directory, OPAQUE, &mut value) {
        Ok(1) => Ok(value == *b"y"),
        Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether it stands for a hidden name: no other device is ever made in a tree.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
}

/// The attributes of an open file or directory that belong to the image, sorted.
pub(super) fn xattrs(file: impl AsFd) -> Result<Xattrs, Errno> {
    let mut list = vec![0; XATTR_MAX];
    let length = match rustix::fs::flistxattr(&file, &mut list) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length?,
    };
    let mut found = Vec::new();
    for name in list[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if !crate::unpack::keeps_xattr(name.to_bytes()) {
            continue;
        }
        let mut value = vec![0; XATTR_MAX];
        let length = rustix::fs::fgetxattr(&file, name, &mut value)?;
        value.truncate(length);
        found.push((name.to_bytes().to_vec(), value));
    }
    found.sort();
    Ok(found)
}

//! Owner, mode, times and attributes of what was made.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid};

use super::apply::{Place, Tree};
use super::archive::{Kind, Member};
use super::error::{failed, not_given, refuse};
use super::path::EntryPath;
use super::{Device, Ownership, UnpackError, xattr};

/// 1970.
pub(super) const BEGINNING: Timestamps = {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
};

/// What an entry says about itself besides its type.
pub(super) struct Metadata {
    pub(super) mode: Mode,
    /// As the entry has it.
    ids: (u32, u32),
    /// Absent: what it is made with is right.
    owner: Option<(Uid, Gid)>,
    times: Timestamps,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Metadata {
    /// Takes the metadata out of `member`; `creator` is whose the files are when nothing is said.
    pub(super) fn new(
        member: Member,
        path: &EntryPath,
        ownership: Ownership,
        creator: (u32, u32),
    ) -> Result<(Self, Kind), UnpackError> {
        let id = |id: u64| {
            // 2^32 - 1 means "do not change" to chown(2); what is above 2^31 is no id to many programs.
            i32::try_from(id)
                .map(i32::cast_unsigned)
                .map_err(|_| refuse(path.bytes(), "its owner is out of range"))
        };
        let ids = (id(member.uid)?, id(member.gid)?);
        let changes = ownership == Ownership::Keep && ids != creator;
        let time = Timespec {
            tv_sec: member.mtime.0,
            tv_nsec: member.mtime.1.into(),
        };
        let metadata = Self {
            mode: Mode::from_raw_mode(member.mode),
            ids,
            owner: changes.then(|| (Uid::from_raw(ids.0), Gid::from_raw(ids.1))),
            times: Timestamps {
                last_access: time,
                last_modification: time,
            },
            xattrs: member.xattrs,
        };
        Ok((metadata, member.kind))
    }

    /// What is recorded of a device in place of making it.
    pub(super) fn device(&self, kind: char, major: u32, minor: u32) -> Device {
        let (uid, gid) = self.ids;
        Device {
            path: String::new(),
            kind,
            major,
            minor,
            mode: self.mode.as_raw_mode(),
            uid,
            gid,
            mtime: self.times.last_modification.tv_sec,
        }
    }

    /// How much the attributes are to remember.
    pub(super) fn xattr_bytes(&self) -> usize {
        self.xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len() + size_of::<(Vec<u8>, Vec<u8>)>())
            .sum()
    }

    /// Sets owner and times of something that cannot be opened without effects.
    pub(super) fn set_unopened(&self, place: &Place<'_>) -> Result<(), UnpackError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.owner {
            rustix::fs::chownat(place.parent, place.name, Some(uid), Some(gid), flags)
                .map_err(|e| not_given(place.path, uid, gid, e))?;
        }
        rustix::fs::utimensat(place.parent, place.name, &self.times, flags)
            .map_err(|e| failed("set the time of", place.path, e))
    }
}

impl Tree<'_> {
    /// Sets the metadata of an open file or directory. Changing the owner clears capabilities and setuid bits, so these
    /// come after it. `made_with`: the mode that it was made with.
    pub(super) fn set_metadata(
        &mut self,
        file: BorrowedFd<'_>,
        path: &EntryPath,
        metadata: &Metadata,
        made_with: Option<Mode>,
    ) -> Result<(), UnpackError> {
        if let Some((uid, gid)) = metadata.owner {
            rustix::fs::fchown(file, Some(uid), Some(gid))
                .map_err(|e| not_given(path, uid, gid, e))?;
        }
        xattr::set(file, &metadata.xattrs, &mut self.report)
            .map_err(|e| failed("set attributes of", path, e))?;
        let special = Mode::SUID | Mode::SGID;
        if !self.exact || made_with != Some(metadata.mode) || metadata.mode.intersects(special) {
            rustix::fs::fchmod(file, metadata.mode)
                .map_err(|e| failed("set the mode of", path, e))?;
        }
        rustix::fs::futimens(file, &metadata.times).map_err(|e| failed("set the time of", path, e))
    }
}

//! Which extended attributes of a layer are kept: `user.*` that mean nothing to overlayfs, and file capabilities.

use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::LayerReport;
use crate::escape;

/// Different names of dropped attributes that a report lists.
const LISTED: usize = 32;

const CAPABILITY: &[u8] = b"security.capability";

/// Sets the attributes that are allowed on a file or directory just made, and notes the others in `report`.
pub(super) fn set(
    file: BorrowedFd<'_>,
    xattrs: &[(Vec<u8>, Vec<u8>)],
    report: &mut LayerReport,
) -> Result<(), Errno> {
    for (name, value) in xattrs {
        let Some(value) = allowed(name, value) else {
            dropped(name, report);
            continue;
        };
        match rustix::fs::fsetxattr(file, name.as_slice(), &value, XattrFlags::empty()) {
            // A file system without such attributes, or a type of file that cannot have them.
            Err(Errno::OPNOTSUPP | Errno::PERM) => dropped(name, report),
            other => other?,
        }
    }
    Ok(())
}

/// Notes attributes of something that cannot have any.
pub(super) fn drop_all(xattrs: &[(Vec<u8>, Vec<u8>)], report: &mut LayerReport) {
    for (name, _) in xattrs {
        dropped(name, report);
    }
}

/// Whether an attribute found in a tree is one that came with the image.
pub(crate) fn keeps(name: &[u8]) -> bool {
    name == CAPABILITY || allowed(name, b"").is_some()
}

/// The value to set, if the attribute is allowed.
fn allowed(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    if name.contains(&0) {
        return None;
    }
    if name == CAPABILITY {
        return capability(value);
    }
    let rest = name.strip_prefix(b"user.")?;
    let overlay = rest == b"overlay" || rest.starts_with(b"overlay.");
    (!rest.is_empty() && !overlay).then(|| value.to_vec())
}

/// A file capability in version 2. Written by user 0 of a user namespace, the kernel turns it into version 3, which
/// holds in that namespace only. Version 3 is accepted when it is for user 0, that is, when it says the same.
fn capability(value: &[u8]) -> Option<Vec<u8>> {
    const REVISION: u32 = 0xff00_0000;
    let magic = u32::from_le_bytes(value.get(..4)?.try_into().ok()?);
    match (magic & REVISION, value.len()) {
        (0x0200_0000, 20) => Some(value.to_vec()),
        (0x0300_0000, 24) if value[20..] == [0; 4] => {
            let magic = 0x0200_0000 | (magic & !REVISION);
            Some([&magic.to_le_bytes(), &value[4..20]].concat())
        }
        _ => None,
    }
}

fn dropped(name: &[u8], report: &mut LayerReport) {
    let name = escape::text(name);
    if let Some(count) = report.xattrs_dropped.get_mut(&name) {
        *count += 1;
    } else if report.xattrs_dropped.len() < LISTED {
        report.xattrs_dropped.insert(name, 1);
    } else {
        *report
            .xattrs_dropped
            .entry("others".to_owned())
            .or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_attributes_are_allowed() {
        for name in [
            &b"user."[..],
            b"user.overlay",
            b"user.overlay.opaque",
            b"user.overlay.overlay.opaque",
            b"trusted.overlay.opaque",
            b"trusted.x",
            b"security.selinux",
            b"security.ima",
            b"system.posix_acl_access",
            b"user.a\0b",
            b"",
        ] {
            assert_eq!(allowed(name, b"x"), None, "{name:?}");
        }
        assert_eq!(allowed(b"user.overlayx", b"x"), Some(b"x".to_vec()));
        assert_eq!(allowed(b"user.mime_type", b""), Some(Vec::new()));
    }

    #[test]
    fn capabilities_are_written_in_version_2_so_that_the_kernel_binds_them() {
        let v2 = [&0x0200_0001_u32.to_le_bytes()[..], &[7; 16]].concat();
        let v3 = |root: u32| {
            [
                &0x0300_0001_u32.to_le_bytes()[..],
                &[7; 16],
                &root.to_le_bytes(),
            ]
            .concat()
        };
        assert_eq!(capability(&v2), Some(v2.clone()));
        assert_eq!(capability(&v3(0)), Some(v2.clone()));
        assert_eq!(capability(&v3(1000)), None);
        assert_eq!(capability(&v2[..19]), None);
        assert_eq!(
            capability(&[&0x0100_0001_u32.to_le_bytes()[..], &[7; 8]].concat()),
            None
        );
        assert_eq!(capability(b""), None);
    }
}

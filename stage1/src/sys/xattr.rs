//! Extended attributes.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use super::{c_path, check};

/// Whether the extended attribute of a file has exactly this value.
pub(crate) fn has_attribute(path: &Path, name: &CStr, value: &[u8]) -> io::Result<bool> {
    let mut found = [0_u8; 16];
    let length = read(path, name, &mut found)?;
    Ok(length.is_some_and(|length| found.get(..length) == Some(value)))
}

/// Whether a file has the extended attribute, and we may know.
pub(crate) fn exists(path: &Path, name: &CStr) -> io::Result<bool> {
    read(path, name, &mut []).map(|length| length.is_some())
}

/// The length of an extended attribute; into an empty `found` nothing is read. `None`: it is not there, or longer than `found`.
fn read(path: &Path, name: &CStr, found: &mut [u8]) -> io::Result<Option<usize>> {
    let path = c_path(path)?;
    // SAFETY: both strings end with NUL, and `found` is as long as it says.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            found.as_mut_ptr().cast(),
            found.len(),
        )
    };
    match check(length as libc::c_long) {
        Ok(length) => Ok(usize::try_from(length).ok()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENODATA | libc::ERANGE)) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}

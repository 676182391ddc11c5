//! Extended attributes.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use super::{c_path, check};

/// Whether the extended attribute of a file has exactly this value.
pub(crate) fn has_attribute(path: &Path, name: &CStr, value: &[u8]) -> io::Result<bool> {
    let path = c_path(path)?;
    let mut found = [0_u8; 16];
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
        Ok(length) => Ok(found.get(..length as usize) == Some(value)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENODATA | libc::ERANGE)) => Ok(false),
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(e) => Err(e),
    }
}

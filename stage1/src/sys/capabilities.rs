//! The capabilities of this process.

use std::io;

use libc::c_long;

use super::check;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Effective, permitted and inheritable, of 32 capabilities.
type Sets = [u32; 3];

const VERSION_3: u32 = 0x2008_0522;

/// `CAP_KILL` in the first set.
const KILL: u32 = 1 << 5;

/// Whether CAP_KILL is permitted: signals reach every user.
pub(crate) fn may_signal_everybody() -> io::Result<bool> {
    let mut sets = [Sets::default(); 2];
    call(libc::SYS_capget, &mut sets)?;
    Ok(sets[0][1] & KILL != 0)
}

/// `capset(2)`: all that is permitted becomes effective.
pub(crate) fn raise_capabilities() -> io::Result<()> {
    let mut sets = [Sets::default(); 2];
    call(libc::SYS_capget, &mut sets)?;
    for [effective, permitted, _] in &mut sets {
        *effective = *permitted;
    }
    call(libc::SYS_capset, &mut sets)
}

fn call(number: c_long, sets: &mut [Sets; 2]) -> io::Result<()> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    // SAFETY: header and sets are what version 3 says, and outlive the call.
    check(unsafe { libc::syscall(number, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(())
}

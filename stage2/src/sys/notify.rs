//! Calls about filters that tell somebody what they refuse (`seccomp_unotify(2)`).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// Installs a filter for this process that tells a listener; the listener's descriptor.
pub(crate) fn install_telling_filter(program: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let description = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter` and writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const description,
        )
    };
    let number = RawFd::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Like `fork(2)`, but the child is a sibling of ours and shares our table of descriptors until one of us parts with it. The
/// child must not drop what this process owns.
pub(crate) fn fork_sharing_descriptors() -> Result<ForkResult, Errno> {
    let flags = libc::CLONE_FILES | libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is a fork, and this program has one thread.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match Errno::result(result)? {
        0 => Ok(ForkResult::Child),
        child => Ok(ForkResult::Parent {
            child: Pid::from_raw(i32::try_from(child).map_err(|_| Errno::ESRCH)?),
        }),
    }
}

/// The descriptor of this number, when it is open.
pub(crate) fn opened(number: RawFd) -> Option<OwnedFd> {
    super::duplicate(number, 3).ok()
}

/// The next call that a filter refused; ENOENT when its process has ended.
pub(crate) fn receive(listener: &OwnedFd) -> Result<libc::seccomp_notif, Errno> {
    // SAFETY: plain old data for which zero is a valid value, and the one that the kernel wants.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the one that this call fills.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV as _,
            &raw mut call,
        )
    };
    Errno::result(result)?;
    Ok(call)
}

/// Lets a refused call fail with an errno.
pub(crate) fn refuse(listener: &OwnedFd, id: u64, errno: i32) -> Result<(), Errno> {
    let answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -errno,
        flags: 0,
    };
    // SAFETY: the structure is the one that this call reads.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND as _,
            &raw const answer,
        )
    };
    Errno::result(result).map(drop)
}

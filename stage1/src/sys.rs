//! Every unsafe call of stage1: one thin function each, owned descriptors in and out.
#![allow(unsafe_code, reason = "the only module of stage1 that may")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use libc::{c_char, c_int, c_long, c_uint};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};

pub(crate) mod brief;
mod capabilities;
mod entry;
mod mount_attributes;
mod program;
mod share;
pub(crate) mod xattr;

pub(crate) use capabilities::{may_signal_everybody, raise_capabilities};
pub(crate) use mount_attributes::{allow_devices, set_mount_attributes};
pub(crate) use program::Program;

/// The empty path of calls that work on the descriptor itself.
const EMPTY: &CStr = c"";

/// As in `linux/sched.h`; the constant of libc overflows.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What `clone3` returned: this process goes on in both.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The old one.
    Parent(Child),
}

/// A child process that cannot be mistaken for another one.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its pid in the namespace of this process.
    pub(crate) pid: u32,
    /// Its pidfd.
    pub(crate) pidfd: OwnedFd,
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this number as a new descriptor of ours.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// `clone3(2)` without a new stack, like fork: both sides go on with a copy of all memory.
pub(crate) fn clone3(flags: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut flags = flags.cast_unsigned().into();
    flags |= u64::from(libc::CLONE_PIDFD.cast_unsigned());
    let mut cgroup_number = 0;
    if let Some(cgroup) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup_number = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    let arguments = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup_number,
    };
    let size = size_of::<libc::clone_args>();
    // SAFETY: the arguments outlive the call; without CLONE_VM and with no thread but this one the child may go on freely.
    let result = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) })?;
    if result == 0 {
        return Ok(Cloned::Child);
    }
    Ok(Cloned::Parent(Child {
        pid: u32::try_from(result).map_err(io::Error::other)?,
        pidfd: owned(pidfd.into())?,
    }))
}

/// `open_tree(2)` with `OPEN_TREE_CLONE`: a detached mount of what `path` names, seen from `directory`; an empty path is
/// `directory` itself.
pub(crate) fn clone_tree(
    directory: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    flags |= libc::AT_EMPTY_PATH.cast_unsigned();
    if recursive {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    let path = c_path(path)?;
    // SAFETY: the path is a C string that outlives the call.
    owned(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
        )
    })
}

/// `move_mount(2)`: attaches the mount `from` on what `onto` refers to.
pub(crate) fn attach(from: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are C strings that live for ever.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            EMPTY.as_ptr(),
            onto.as_raw_fd(),
            EMPTY.as_ptr(),
            flags,
        )
    })?;
    Ok(())
}

/// `fsopen`, `fsconfig`, `fsmount`: a detached mount of a new file system.
pub(crate) fn new_mount(
    file_system: &CStr,
    options: &[(&CStr, CString)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string that outlives the call.
    let context = owned(unsafe {
        libc::syscall(libc::SYS_fsopen, file_system.as_ptr(), libc::FSOPEN_CLOEXEC)
    })?;
    for (key, value) in options {
        configure(&context, libc::FSCONFIG_SET_STRING, Some((key, value)))?;
    }
    configure(&context, libc::FSCONFIG_CMD_CREATE, None)?;
    // SAFETY: no pointers.
    owned(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            libc::FSMOUNT_CLOEXEC,
            attributes,
        )
    })
}

fn configure(context: &OwnedFd, command: c_uint, pair: Option<(&CStr, &CStr)>) -> io::Result<()> {
    let null = std::ptr::null::<c_char>();
    let (key, value) = pair.map_or((null, null), |(key, value)| (key.as_ptr(), value.as_ptr()));
    // SAFETY: key and value are null or C strings that outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            key,
            value,
            0,
        )
    })?;
    Ok(())
}

/// `close_range(2)`: every descriptor from `first` on is closed when this process executes another program.
pub(crate) fn close_at_exec_from(first: c_uint) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: no pointers, and no descriptor is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) })?;
    Ok(())
}

/// `pidfd_open(2)`.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// `pidfd_send_signal(2)`.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            information,
            0,
        )
    })?;
    Ok(())
}

/// `waitid(2)`: waits for the end of a child, and takes what the kernel knows of it. `CLD_…`, and the code or the signal, which
/// may be one of real time, that `nix` has no type for.
pub(crate) fn wait_for_end(child: BorrowedFd<'_>) -> io::Result<(c_int, c_int)> {
    // SAFETY: siginfo_t is plain old data for which zero is a valid value.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let number = child.as_raw_fd().cast_unsigned();
    // SAFETY: the structure is the one that this call fills.
    check(unsafe { libc::waitid(libc::P_PIDFD, number, &raw mut found, libc::WEXITED) }.into())?;
    // SAFETY: it is about a child, so it has this field.
    Ok((found.si_code, unsafe { found.si_status() }))
}

/// Takes over a descriptor that was inherited under this number, and closes it at exec.
pub(crate) fn inherited(number: RawFd) -> io::Result<File> {
    // SAFETY: no pointers; fails when the number is not open.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    let flags = c_int::try_from(flags).map_err(io::Error::other)? | libc::FD_CLOEXEC;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, flags) }.into())?;
    // SAFETY: it is open, and the contract of stage1 gives it to this process alone.
    Ok(unsafe { File::from_raw_fd(number) })
}

/// Another descriptor for the same file, numbered `least` or more.
pub(crate) fn lift(from: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) }.into())
}

/// Makes `from` also descriptor `number`, which stays open at exec; whatever was there is closed.
fn place(from: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if from.as_raw_fd() == number {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into())?;
        return Ok(());
    }
    // SAFETY: callers place only onto numbers that no owner holds any more: see the call sites.
    check(unsafe { libc::dup2(from.as_raw_fd(), number) }.into())?;
    Ok(())
}

/// Sets the default action of a signal.
pub(crate) fn default_action(signal: c_int) {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Whether this signal is ignored.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    // SAFETY: sigaction is plain old data for which zero is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null pointer changes nothing; the structure is the one this call fills.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// These signals; `nix` has no type for those of real time.
pub(crate) fn signal_set(numbers: impl Iterator<Item = c_int>) -> SigSet {
    let mut set = *SigSet::empty().as_ref();
    for number in numbers {
        // SAFETY: the set outlives the call; a number that is the C library's own is refused.
        let _ = unsafe { libc::sigaddset(&raw mut set, number) };
    }
    // SAFETY: it was empty, and only sigaddset has changed it.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// Ends the process without running destructors or exit handlers: for a child that was cloned from the keeper.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(code.into()) }
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: no pointers.
    let socket = owned(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: (libc::IFF_UP | libc::IFF_RUNNING) as i16,
        },
    };
    // SAFETY: the request is the structure that this call reads, and outlives it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    check(result.into())?;
    Ok(())
}

/// Unlocks the slave of a pseudo terminal and opens it through its master: no path is walked.
pub(crate) fn terminal_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlocked: c_int = 0;
    // SAFETY: the flag outlives the call.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    check(result.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: no pointers.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// Copies the window size of one terminal to another.
pub(crate) fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the structure is the one this call fills.
    check(unsafe { libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    // SAFETY: the structure is the one this call reads.
    check(unsafe { libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())?;
    Ok(())
}

/// The working directory as a descriptor argument.
pub(crate) fn here() -> BorrowedFd<'static> {
    nix::fcntl::AT_FDCWD
}

/// Gives what `command` starts the signals of a fresh process, none blocked and none ignored, and lets the kernel kill it
/// when this process dies.
pub(crate) fn starts_afresh(command: &mut Command) {
    let parent = Pid::this();
    let hook = move || {
        // SIGKILL and SIGSTOP cannot be changed and stay as they are.
        (1..=31).for_each(default_action);
        SigSet::empty().thread_set_mask()?;
        set_pdeathsig(Signal::SIGKILL)?;
        // It may have died before that call.
        match getppid() == parent {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: between fork and exec the hook makes system calls and nothing else.
    unsafe { command.pre_exec(hook) };
}

unsafe extern "C" {
    /// The linker's: the first byte of this program in memory.
    #[link_name = "__executable_start"]
    safe static PROGRAM: u8;
    /// The linker's: the first byte after its code.
    #[link_name = "etext"]
    safe static CODE_END: u8;
}

/// Gives the pages of this program's code back to the page cache: what waits for months need not be resident, and what is
/// needed again is mapped again. Nothing depends on it.
pub(crate) fn forget_code() {
    let start = (&raw const PROGRAM).addr();
    let length = (&raw const CODE_END).addr().saturating_sub(start);
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: these are read-only segments, private mappings of the program's file that nothing ever wrote to.
    let _ = unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
}

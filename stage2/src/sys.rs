//! Every unsafe call of stage2: one thin function per system call that `nix` lacks.
#![allow(
    unsafe_code,
    reason = "the only file of this program with system calls by hand"
)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, Pid};

mod entry;
pub(crate) mod notify;

/// A descriptor of the caller, duplicated: so it is owned once, whatever was inherited twice.
pub(crate) fn inherited(number: u32) -> Result<OwnedFd, Errno> {
    let number = RawFd::try_from(number).map_err(|_| Errno::EBADF)?;
    if number < 3 {
        return Err(Errno::EBADF);
    }
    duplicate(number, 3)
}

/// The same, for one that nothing else may keep: what was inherited is closed.
pub(crate) fn taken(number: u32) -> Result<OwnedFd, Errno> {
    let ours = inherited(number)?;
    let number = RawFd::try_from(number).map_err(|_| Errno::EBADF)?;
    nix::unistd::close(number).map(|()| ours)
}

/// The same descriptor under the lowest free number from `least` on, closed on exec.
pub(crate) fn duplicate_above(from: &OwnedFd, least: RawFd) -> Result<OwnedFd, Errno> {
    duplicate(from.as_raw_fd(), least)
}

fn duplicate(number: RawFd, least: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the number is only looked up in the kernel's table; a closed one gives EBADF.
    let duplicate = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, least) };
    Errno::result(duplicate)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// Marks every descriptor from `first` on so that it does not survive exec.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on. Whatever owned them must not be used again.
pub(crate) fn close_from(first: u32) -> Result<(), Errno> {
    close_range(first, 0)
}

fn close_range(first: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    Errno::result(result).map(drop)
}

/// Moves `from` to the number `to`, closed on exec, and forgets `from`.
pub(crate) fn move_to(from: OwnedFd, to: RawFd) -> Result<OwnedFd, Errno> {
    if from.as_raw_fd() == to {
        return Ok(from);
    }
    // SAFETY: takes numbers only; what was open as `to` belongs to a process that is about to close it.
    let result = unsafe { libc::dup3(from.as_raw_fd(), to, libc::O_CLOEXEC) };
    Errno::result(result)?;
    // SAFETY: `to` is open now, and the caller gives it to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(to) })
}

/// Makes `from` also the descriptor `number`, which exec leaves open; nobody owns that number.
pub(crate) fn keep_as(from: &OwnedFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: takes numbers only; what was open as `number` belongs to nobody who goes on using it.
    let result = unsafe { libc::dup2(from.as_raw_fd(), number) };
    Errno::result(result).map(drop)
}

/// Standard input, output or error.
pub(crate) fn standard(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: 0, 1 and 2 are open for the life of this program: `run` and `enter` check it first.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// `fork(2)`.
pub(crate) fn fork() -> Result<ForkResult, Errno> {
    // SAFETY: this program has one thread, so the child may call anything.
    unsafe { nix::unistd::fork() }
}

/// Ends this process without running destructors.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(code.into()) }
}

/// Makes standard input the controlling terminal of this session.
pub(crate) fn set_controlling_terminal() -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes a number: 0, do not steal it from another session.
    let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    Errno::result(result).map(drop)
}

/// Sets the nice value of this process.
pub(crate) fn set_nice(nice: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result).map(drop)
}

/// The nice value of this process.
pub(crate) fn nice() -> Result<i32, Errno> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) };
    // The kernel itself answers 40 to 1, so that no answer looks like an error.
    let found = Errno::result(result)?;
    Ok(i32::try_from(found).map_or(i32::MAX, |found| 20 - found))
}

/// A new, empty session keyring.
pub(crate) fn join_new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    Errno::result(result).map(drop)
}

/// The number of the mount that this is in.
pub(crate) fn mount_of(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: statx is plain old data for which zero is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let (path, how) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    let asked = libc::STATX_MNT_ID;
    // SAFETY: the path lives for ever, and the structure is the one this call fills.
    let result = unsafe { libc::statx(file.as_raw_fd(), path, how, asked, &raw mut found) };
    Errno::result(result).map(|_| found.stx_mnt_id)
}

/// Makes the mount read-only whose root this is.
pub(crate) fn make_read_only(mount: &OwnedFd) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is empty and lives for ever, the structure outlives the call, and its size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Installs a seccomp filter for this process.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
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
            0,
            &raw const description,
        )
    };
    Errno::result(result).map(drop)
}

/// The three capability sets of `capset(2)`.
#[derive(Clone, Copy)]
pub(crate) struct Sets {
    /// In force now.
    pub(crate) effective: u64,
    /// May be put in force.
    pub(crate) permitted: u64,
    /// Kept by exec of a file that has them inheritable, and a condition for ambient.
    pub(crate) inheritable: u64,
}

/// `capset(2)` for this process.
pub(crate) fn set_capabilities(sets: Sets) -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let low = |set: u64| (set & 0xffff_ffff) as u32;
    let high = |set: u64| (set >> 32) as u32;
    let data: [u32; 6] = [
        low(sets.effective),
        low(sets.permitted),
        low(sets.inheritable),
        high(sets.effective),
        high(sets.permitted),
        high(sets.inheritable),
    ];
    // SAFETY: header and data are what version 3 says: two structures of three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(result).map(drop)
}

/// Drops one capability from the bounding set; EINVAL: the kernel does not know it.
pub(crate) fn drop_bounding(number: u8) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    let result =
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
    Errno::result(result).map(drop)
}

/// Clears the ambient set.
pub(crate) fn clear_ambient() -> Result<(), Errno> {
    ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)
}

/// Raises one capability, permitted and inheritable, in the ambient set.
pub(crate) fn raise_ambient(number: u8) -> Result<(), Errno> {
    ambient(libc::PR_CAP_AMBIENT_RAISE, number)
}

fn ambient(operation: libc::c_int, number: u8) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    let result = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            operation,
            libc::c_ulong::from(number),
            0,
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Sets the saved group of this process, and no other.
pub(crate) fn set_saved_group(gid: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only; -1 leaves a group as it is.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, -1, -1, gid) };
    Errno::result(result).map(drop)
}

/// Gives every signal its default action, also those that the C library keeps for itself and would not touch.
pub(crate) fn reset_signals() {
    // The kernel's struct sigaction: SIG_DFL, no flags, no restorer, an empty mask.
    let default = [0_u64; 4];
    let unused: *mut u64 = std::ptr::null_mut();
    for number in 1..=64 {
        // SAFETY: the action outlives the call; SIGKILL and SIGSTOP, which have no other action, are refused.
        let _ = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                unused,
                8_usize,
            )
        };
    }
}

/// A signal that was waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Its number.
    pub(crate) number: i32,
    /// A process outside of our pid namespace has sent it.
    pub(crate) from_outside: bool,
}

/// When no signal has come for so long, the next one is waited for in as little memory as possible.
const SHORT: Duration = Duration::from_millis(200);

/// Waits for one of `set`, which must be blocked; `None` when `timeout` has passed.
pub(crate) fn wait_for_signal(
    set: &SigSet,
    timeout: Option<Duration>,
) -> Result<Option<Received>, Errno> {
    match signal_within(set, Some(timeout.unwrap_or(SHORT))) {
        Err(Errno::EAGAIN) if timeout.is_some() => Ok(None),
        Err(Errno::EAGAIN) => {
            forget_code();
            signal_within(set, None).map(Some)
        }
        other => other.map(Some),
    }
}

/// `sigtimedwait(2)`; EAGAIN when the time has passed.
fn signal_within(set: &SigSet, time: Option<Duration>) -> Result<Received, Errno> {
    let limit = time.map(|t| libc::timespec {
        tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: siginfo_t is plain old data for which zero is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set, the information and the limit outlive the call.
    let number = unsafe { libc::sigtimedwait(set.as_ref(), &raw mut info, limit) };
    let number = Errno::result(number)?;
    // SAFETY: the field is there, whatever it means: what it means is looked at first.
    let sender = unsafe { info.si_pid() };
    // The kernel itself has written the sender of what was sent with kill or a pidfd, and refuses to let another process say so.
    // With any other code the sender can be the word of an app (rt_sigqueueinfo), or it is the kernel that an app has asked for
    // a signal (F_SETOWN).
    let from_outside = info.si_code == libc::SI_USER && sender == 0;
    Ok(Received {
        number,
        from_outside,
    })
}

/// A child that has ended.
pub(crate) struct Ended {
    /// Its pid.
    pub(crate) pid: Pid,
    /// The wait status.
    pub(crate) status: libc::c_int,
    /// What it and its waited-for children used.
    pub(crate) usage: libc::rusage,
}

/// Takes one ended child, if there is one; ECHILD: there are no children at all.
pub(crate) fn reap() -> Result<Option<Ended>, Errno> {
    let mut status = 0;
    // SAFETY: rusage is plain old data for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places outlive the call.
    let pid = unsafe {
        libc::wait4(
            -1,
            &raw mut status,
            libc::WNOHANG | libc::__WALL,
            &raw mut usage,
        )
    };
    match Errno::result(pid)? {
        0 => Ok(None),
        pid => Ok(Some(Ended {
            pid: Pid::from_raw(pid),
            status,
            usage,
        })),
    }
}

/// `kill(2)`, also for real-time signals, which `nix` has no type for.
pub(crate) fn kill(pid: Pid, number: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::kill(pid.as_raw(), number) };
    Errno::result(result).map(drop)
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

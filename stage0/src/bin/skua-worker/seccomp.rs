//! Which system calls each worker may make. What is not listed fails with EPERM; another architecture kills.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::error::Error;

/// Memory, threads, time, signals to itself, input and output on what is open: what any Rust program does.
const BASE: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcwd,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_splice,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What newer calls have replaced; newer architectures lack them.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[c_long] = &[];

/// Reading files by name; Landlock says which.
const OPEN: &[c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_readlinkat,
];

/// Connections out; `socket` itself has a condition.
const CONNECT: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ioctl,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// Making files.
const MAKE: &[c_long] = &[
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_setxattr,
    libc::SYS_symlinkat,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// In the libc crate only for some targets.
const FCHMODAT2: c_long = 452;

/// Address families of the network worker: the internet, and the kernel's routing table, which `getaddrinfo` sorts by.
const FAMILIES: &[i32] = &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Installs the filter of the network worker.
pub(crate) fn network() -> Result<(), Error> {
    let mut rules = allowed(&[BASE, LEGACY, OPEN, CONNECT])?;
    let families = FAMILIES.iter().map(|family| equal(0, *family as u64));
    rules.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    install(rules)
}

/// Installs the filter of the layout worker: it has its descriptors, and opens files below them.
pub(crate) fn layout() -> Result<(), Error> {
    install(allowed(&[BASE, LEGACY, OPEN])?)
}

/// Installs the filter of the pack worker: it reads files and their attributes.
pub(crate) fn pack() -> Result<(), Error> {
    let attributes = [libc::SYS_fgetxattr, libc::SYS_flistxattr];
    install(allowed(&[BASE, LEGACY, OPEN, &attributes])?)
}

/// Installs the filter of the unpack worker.
pub(crate) fn unpack() -> Result<(), Error> {
    install(allowed(&[BASE, LEGACY, OPEN, MAKE])?)
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// The lists, and what every worker may do under conditions: threads but no processes, memory but no new code.
fn allowed(lists: &[&[c_long]]) -> Result<Rules, Error> {
    let mut rules: Rules = lists
        .iter()
        .copied()
        .flatten()
        .map(|call| (*call, vec![]))
        .collect();
    let thread = libc::CLONE_THREAD as u64;
    let executable = libc::PROT_EXEC as u64;
    rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
    rules.insert(libc::SYS_mmap, vec![masked(2, executable, 0)?]);
    rules.insert(libc::SYS_mprotect, vec![masked(2, executable, 0)?]);
    rules.insert(
        libc::SYS_prctl,
        vec![equal(0, libc::PR_SET_NAME as u64)?, equal(0, PR_SET_VMA)?],
    );
    // Reading a limit, not setting one.
    rules.insert(libc::SYS_prlimit64, vec![null(2)?]);
    // Passes here, so that the second filter decides its errno.
    rules.insert(libc::SYS_clone3, vec![]);
    Ok(rules)
}

const PR_SET_VMA: u64 = 0x5356_4d41;

fn install(rules: Rules) -> Result<(), Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(Error::Filter)?;
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let compile = |rules, mismatch, matched| {
        SeccompFilter::new(rules, mismatch, matched, arch)
            .and_then(BpfProgram::try_from)
            .map_err(Error::Filter)
    };
    // clone3 keeps its flags in memory where no filter sees them; told that there is none, glibc uses clone.
    let no_clone3 = compile(
        BTreeMap::from([(libc::SYS_clone3, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    )?;
    let filter = compile(rules, denied, SeccompAction::Allow)?;
    seccompiler::apply_filter(&no_clone3).map_err(Error::Seccomp)?;
    seccompiler::apply_filter(&filter).map_err(Error::Seccomp)
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, Error> {
    rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn null(argument: u8) -> Result<SeccompRule, Error> {
    rule(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, Error> {
    rule(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(mask),
        value,
    )
}

fn rule(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, Error> {
    SeccompCondition::new(argument, length, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(Error::Filter)
}

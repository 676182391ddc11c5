//! What can go wrong in stage1, and how it is said.

use std::io;
use std::path::PathBuf;

use crate::network::NetworkError;
use pod::{AppName, CredentialName, SocketName, VolumeName};

/// A step of stage1 that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot tell the working directory, which must be a pod's")]
    WorkingDirectory(#[source] io::Error),
    #[error(
        "usage: skua-stage1 run | explain [--json] [--stdin] | enter --app NAME [--terminal] -- PROGRAM ARG… | stop [--force] | kill SIGNAL | gc [--abandon-networks]"
    )]
    Usage,
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("{0} must be the number of an open descriptor")]
    LockVariable(&'static str),
    #[error("cannot take over descriptor {0} as the lock of the pod")]
    Lock(i32, #[source] io::Error),
    #[error("{0} must list open descriptors with their names")]
    Descriptors(&'static str),
    #[error("cannot take over descriptor {0}")]
    Inherited(i32, #[source] io::Error),
    #[error("app {0} claims socket '{1}', which was not given")]
    NoSocket(AppName, SocketName),
    #[error("app {0} claims credential '{1}', which was not given")]
    NoCredential(AppName, CredentialName),
    #[error("app {0} has two credentials that it would know as '{1}'")]
    CredentialTwice(AppName, CredentialName),
    #[error("no app claims socket '{0}'")]
    SocketOfNobody(SocketName),
    #[error("the working directory is not that of pod {0} in state {1}")]
    NotItsDirectory(pod::PodId, &'static str),
    #[error(transparent)]
    Pod(#[from] pod::Error),
    #[error("a part of the pod's record is lost")]
    Lost(#[source] pod::Error),
    #[error(transparent)]
    Policy(#[from] pod::policy::PolicyError),
    #[error(transparent)]
    Bound(#[from] pod::policy::Violation),
    #[error("cannot tell what is at {0}")]
    RealPath(PathBuf, #[source] io::Error),

    #[error("the pod has no app")]
    NoApps,
    #[error("more than one app of the pod asks for a terminal")]
    Terminals,
    #[error("two apps of the pod are named {0}")]
    AppTwice(AppName),
    #[error("socket '{0}' is claimed twice: one app gets it")]
    SocketTwice(SocketName),
    #[error("app {0} has no program")]
    NoProgram(AppName),
    #[error("app {0} asks for what needs --insecure-options={1}")]
    NotInsecure(AppName, &'static str),
    #[error("path {0} is not absolute")]
    RelativePath(String),
    #[error("app {app} cannot have a volume on {path}: {why}")]
    MountPath {
        app: AppName,
        path: String,
        why: &'static str,
    },
    #[error("cannot unmask {1} for app {0}: it is neither masked nor read-only")]
    NotMasked(AppName, String),
    #[error(
        "cannot set kernel parameter {0}: it belongs to the host's network, which the pod shares"
    )]
    HostSysctl(pod::SysctlName),
    #[error("app {app} cannot have a device on {path}: {why}")]
    DevicePath {
        app: AppName,
        path: String,
        why: &'static str,
    },
    #[error("app {app} asks for {module} label {label}, but {module} is not in force on this host")]
    NoSecurityModule {
        app: AppName,
        module: &'static str,
        label: String,
    },
    #[error("app {0} mounts volume {1}, which the pod does not have")]
    NoVolume(AppName, VolumeName),
    #[error("cannot give volume {0} to {1} {2}, which is not in the id map of the pod")]
    VolumeOwner(VolumeName, &'static str, u32),

    #[error("cannot find the stage2 binary beside this one")]
    Stage2(#[source] io::Error),
    #[error("cannot tell the service manager at NOTIFY_SOCKET={} of the pod", .0.to_string_lossy())]
    Notify(std::ffi::OsString, #[source] io::Error),
    #[error("cannot read the identity of this boot")]
    BootId(#[source] io::Error),
    #[error("cannot read the start time of process {0}")]
    Process(u32, #[source] io::Error),
    #[error("cannot read standard input's terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot look at {0}")]
    LookAtStream(&'static str, #[source] io::Error),
    #[error("cannot hand {0} to apps: it {1}")]
    Stream(&'static str, &'static str),
    #[error("cannot put pipes in the place of standard output and error")]
    Outlet(#[source] io::Error),
    #[error("cannot pass on all that apps wrote to {0}")]
    PassOn(&'static str, #[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),

    #[error("no range of user ids is free")]
    NoRange,
    #[error("cannot lock a range of user ids: {0}")]
    RangeLock(PathBuf, #[source] io::Error),
    #[error("cannot write id map {0}")]
    WriteIdMap(String, #[source] io::Error),
    #[error("cannot run {0}")]
    Mapper(String, #[source] io::Error),
    #[error("{0} refused the id map of the pod: {1}")]
    MapperSaid(String, String),
    #[error("cannot make a user namespace for mounts with mapped ids")]
    MountUsers(#[source] io::Error),

    #[error("cannot make {0} in the pod directory")]
    PodFile(PathBuf, #[source] io::Error),
    #[error("cannot read seccomp profile {0}")]
    ReadProfile(PathBuf, #[source] io::Error),
    #[error("cannot use the seccomp profile {1} of app {0}")]
    Profile(AppName, String, #[source] crate::seccomp::ProfileError),
    #[error("cannot clone a mount of {0}")]
    OpenTree(PathBuf, #[source] io::Error),
    #[error("cannot set flags and id map of the mount of {0}")]
    TreeFlags(PathBuf, #[source] io::Error),

    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("cannot open the network namespace of the pod")]
    Netns(#[source] io::Error),

    #[error("cannot find the cgroup of this process")]
    FindCgroup(#[source] io::Error),
    #[error("cannot set {0}")]
    Limits(String, #[source] crate::cgroup::place::NoLimits),
    #[error("cannot write {1} to {0}")]
    SetLimit(PathBuf, String, #[source] io::Error),
    #[error("cannot move the keeper to cgroup {0}")]
    MoveKeeper(PathBuf, #[source] io::Error),
    #[error("app {0} was killed: the memory that it may use was used up")]
    OutOfMemory(AppName),
    #[error("cannot make cgroup {0}")]
    MakeCgroup(PathBuf, #[source] io::Error),
    #[error("cannot remove cgroup {0}")]
    RemoveCgroup(PathBuf, #[source] io::Error),

    #[error("cannot make the user namespace of the pod")]
    Clone(#[source] io::Error),
    #[error("cannot become user {0}, to whom the namespaces of the pod are to belong")]
    Owner(u32, #[source] io::Error),
    #[error(
        "root lacks CAP_KILL here: no signal would reach the pod, which belongs to another user"
    )]
    Unsignalled,
    #[error("cannot make a session for the pod")]
    Session(#[source] io::Error),
    #[error("cannot make the namespaces of the pod")]
    Separate(#[source] io::Error),
    #[error("the plan has no step that attaches what stage2 gets")]
    NothingHanded,
    #[error("cannot talk to the inside of the pod")]
    Channel(#[source] io::Error),
    #[error("{0}")]
    Inside(String),
    #[error("cannot become root of the pod")]
    BecomeRoot(#[source] io::Error),
    #[error("cannot {0}")]
    Step(String, #[source] io::Error),
    #[error("cannot write the host's files for /etc")]
    HostFiles(#[source] io::Error),
    #[error("cannot put the descriptors of stage2 in place")]
    Handover(#[source] io::Error),
    #[error("cannot execute stage2")]
    ExecStage2(#[source] io::Error),

    #[error("cannot wait for the pod")]
    Wait(#[source] io::Error),
    #[error("cannot record how pod {0} ended")]
    Result(pod::PodId, #[source] pod::Error),
    #[error("the pod was killed by signal {0}")]
    Killed(i32),
    #[error("stage2 ended with status {0} and left no status of app {1}")]
    NoStatus(i32, AppName),
    #[error("cannot remove the pod's directory {0}")]
    Remove(PathBuf, #[source] io::Error),
    #[error("the pod has ended and is kept")]
    Kept(#[source] Box<Error>),
    #[error("the process that removes the files of the pod was killed")]
    RemoverDied,
    #[error(
        "a network was not left, and what it keeps for the pod, such as an address, stays taken"
    )]
    Abandoned(#[source] NetworkError),
    #[error("the keeper of the pod was killed")]
    KeeperKilled,
    #[error("the pod is not running")]
    NotRunning,
    #[error("the pod is still being started")]
    Starting,
    #[error("the pod has no app {0}")]
    NoSuchApp(AppName),
    #[error("cannot enter the pod")]
    Enter(#[source] io::Error),
    #[error("cannot open {0} of the pod")]
    OpenPod(PathBuf, #[source] io::Error),
    #[error("the process that enters the pod was killed")]
    UsherDied,
    #[error("cannot kill process {0}")]
    Kill(u32, #[source] io::Error),
}

/// An error and its causes, joined as they are printed.
pub(crate) fn joined(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

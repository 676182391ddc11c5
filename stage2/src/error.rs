//! What can go wrong in stage2: one variant per step, with the thing it was about; printed once, by `main`.

mod hint;

use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use pod::{AppName, SocketName};

use crate::report::Failure;

/// A step that failed.
#[derive(Debug)]
pub(crate) enum Error {
    Arguments(&'static str),
    Descriptor(u32, Errno),
    Contract(pod::Error),
    Harden(&'static str, Errno),
    KeeperGone,
    Builder(Signal),
    OpenApp(AppName, Errno),
    WrongName(AppName, AppName),
    Empty(AppName, &'static str),
    Nul(&'static str),
    Filter(AppName, &'static str),
    Fork(AppName, Errno),
    JoinCgroup(AppName, Errno),
    Socket(SocketName, Errno),
    NotASocket(SocketName),
    NoSocket(AppName, SocketName),
    SocketOfNobody(SocketName),
    Enter(AppName, Box<Error>),
    Reported(AppName, Failure),
    Gate(Errno),
    UnshareMounts(Errno),
    OpenRoot(String, Errno),
    PivotRoot(String, Errno),
    Stdin(Errno),
    NotNullDevice,
    Session(Errno),
    ControllingTerminal(Errno),
    OwnTerminal(Errno),
    UnknownLimit(String),
    Limit(String, Errno),
    WorkingDirectory(String, Errno),
    NoWorkingDirectory(String),
    OutsideRoot(String),
    Users(&'static str, Errno),
    UsersFile(&'static str, &'static str),
    UnknownUser(String),
    UnknownGroup(String),
    Number(String),
    Entry(&'static str, String),
    TooManyGroups(usize),
    NotMapped(&'static str, u32),
    GroupsOfOne,
    Nest(&'static str, Errno),
    Bounding(u8, Errno),
    Credentials(&'static str, Errno),
    GiveCredentials(Errno),
    NoCredentials,
    Capabilities(Errno),
    Ambient(u8, Errno),
    NoNewPrivileges(Errno),
    Keyring(Errno),
    Landlock(landlock::RulesetError),
    ScopeMissing,
    NoDomain,
    Nice(i32, Errno),
    OomScore(i32, Errno),
    Label(&'static str, String, Errno),
    Volume(String, Errno),
    InstallFilter(Errno),
    Watcher(Errno),
    Proc(&'static str, Errno),
    NotProc,
    ReadBack(&'static str),
    Differs {
        what: String,
        planned: String,
        found: String,
    },
    Exec(String, Errno),
    NotFound(String),
    Wait(Errno),
    Signal(AppName, Errno),
    Status(AppName, io::Error),
    NotifySocket(AppName, Errno),
    NeverReady(AppName),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(problem) => write!(f, "wrong arguments: {problem}"),
            Self::Descriptor(number, _) => write!(f, "cannot use descriptor {number}"),
            Self::Contract(error) => write!(f, "{error}"),
            Self::Harden(what, _) => write!(f, "cannot {what}"),
            Self::KeeperGone => f.write_str("the keeper of this pod has ended"),
            Self::Builder(signal) => {
                write!(f, "what built the root of the pod was ended by {signal}")
            }
            Self::OpenApp(name, _) => write!(f, "cannot open the files of app {name}"),
            Self::WrongName(wanted, found) => {
                write!(f, "the file of app {wanted} is that of app {found}")
            }
            Self::Empty(name, what) => write!(f, "app {name} has no {what}"),
            Self::Nul(what) => write!(f, "a NUL byte in {what}"),
            Self::Filter(name, problem) => write!(f, "the seccomp filter of app {name} {problem}"),
            Self::Fork(name, _) => write!(f, "cannot fork for app {name}"),
            Self::JoinCgroup(name, _) => write!(f, "cannot join the cgroup of app {name}"),
            Self::Socket(name, _) => write!(f, "cannot look at socket '{name}'"),
            Self::NotASocket(name) => write!(f, "'{name}' is neither a socket nor a FIFO"),
            Self::NoSocket(app, name) => write!(f, "socket '{name}' of app {app} did not come"),
            Self::SocketOfNobody(name) => write!(f, "socket '{name}' is for no app"),
            Self::Enter(name, _) => write!(f, "cannot enter app {name}"),
            Self::Reported(name, _) => write!(f, "cannot start app {name}"),
            other => other.step(f),
        }
    }
}

impl Error {
    /// The steps of one app's start.
    fn step(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnshareMounts(_) => f.write_str("cannot make a mount namespace"),
            Self::OpenRoot(path, _) => write!(f, "cannot open its root {path}"),
            Self::PivotRoot(path, _) => write!(f, "cannot make {path} its root"),
            Self::Stdin(_) => f.write_str("cannot open /dev/null as its standard input"),
            Self::NotNullDevice => f.write_str("/dev/null of its root is not the null device"),
            Self::Session(_) => f.write_str("cannot make a session"),
            Self::ControllingTerminal(_) => {
                f.write_str("cannot make standard input its controlling terminal")
            }
            Self::OwnTerminal(_) => f.write_str("cannot give its terminal to its user"),
            Self::UnknownLimit(name) => {
                write!(f, "unknown resource limit '{}'", name.escape_debug())
            }
            Self::Limit(name, _) => write!(f, "cannot set resource limit {name}"),
            Self::Nice(nice, _) => write!(f, "cannot set its nice value to {nice}"),
            Self::OomScore(score, _) => write!(f, "cannot set its oom_score_adj to {score}"),
            Self::WorkingDirectory(path, _) => write!(
                f,
                "cannot enter working directory '{}'",
                path.escape_debug()
            ),
            Self::NoWorkingDirectory(path) => write!(
                f,
                "there is no working directory '{}' on the volume of the host",
                path.escape_debug()
            ),
            Self::OutsideRoot(path) => write!(
                f,
                "working directory '{}' is not inside its root",
                path.escape_debug()
            ),
            other => other.user(f),
        }
    }

    /// What concerns users and groups.
    fn user(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users(file, _) => write!(f, "cannot read {file} of the image"),
            Self::UsersFile(file, problem) => write!(f, "{file} of the image {problem}"),
            Self::UnknownUser(name) => write!(
                f,
                "no user '{}' in /etc/passwd of the image",
                name.escape_debug()
            ),
            Self::UnknownGroup(name) => write!(
                f,
                "no group '{}' in /etc/group of the image",
                name.escape_debug()
            ),
            Self::Number(given) => {
                write!(f, "'{}' is not an id below 2147483648", given.escape_debug())
            }
            Self::Entry(file, name) => write!(
                f,
                "the entry of '{}' in {file} of the image has no valid id",
                name.escape_debug()
            ),
            Self::TooManyGroups(count) => write!(
                f,
                "the user is in {count} groups, more than the {} that are allowed",
                crate::user::MAX_GROUPS
            ),
            Self::NotMapped(kind, id) => write!(f, "{kind} {id} is not in the id map of the pod"),
            Self::GroupsOfOne => f.write_str(
                "supplementary groups need an id map of more than one id: add the caller to /etc/subuid and /etc/subgid",
            ),
            other => other.confinement(f),
        }
    }

    /// What concerns confinement and exec.
    fn confinement(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nest(what, _) => write!(f, "cannot {what} of its own user namespace"),
            Self::Bounding(number, _) => {
                write!(f, "cannot drop capability {number} from the bounding set")
            }
            Self::Credentials(what, _) => write!(f, "cannot set its {what}"),
            Self::GiveCredentials(_) => write!(f, "cannot give it {}", pod::CREDENTIALS_PATH),
            Self::NoCredentials => write!(f, "{} has no credentials", pod::CREDENTIALS_PATH),
            Self::Capabilities(_) => f.write_str("cannot set its capabilities"),
            Self::Ambient(number, _) => write!(f, "cannot raise capability {number} as ambient"),
            Self::NoNewPrivileges(_) => f.write_str("cannot set no_new_privs"),
            Self::Keyring(_) => f.write_str("cannot make a session keyring"),
            Self::Landlock(_) => f.write_str("cannot make its Landlock domain"),
            Self::NoDomain => f.write_str("the kernel did not enforce its Landlock domain"),
            Self::ScopeMissing => f.write_str(
                "cannot scope abstract sockets: the kernel's Landlock is older than ABI 6 (Linux 6.12)",
            ),
            Self::InstallFilter(_) => f.write_str("cannot install its seccomp filter"),
            Self::Watcher(_) => f.write_str("cannot watch what its seccomp filter refuses"),
            Self::Proc(file, _) => write!(f, "cannot read {file} of its root"),
            Self::Label(what, label, _) => {
                write!(f, "cannot set its {what} '{}'", label.escape_debug())
            }
            Self::Volume(path, _) => {
                write!(f, "cannot look at the volume on {}", path.escape_debug())
            }
            Self::NotProc => f.write_str("/proc of its root is not a proc file system"),
            Self::ReadBack(what) => write!(f, "/proc does not say its {what}"),
            Self::Differs {
                what,
                planned,
                found,
            } => write!(
                f,
                "it is not confined as planned: {what} is {found} instead of {planned}"
            ),
            Self::Exec(program, _) => write!(f, "cannot execute '{}'", program.escape_debug()),
            Self::NotFound(program) => write!(
                f,
                "no program '{}' in the absolute directories of its PATH",
                program.escape_debug()
            ),
            Self::Wait(_) => f.write_str("cannot wait for signals"),
            Self::Gate(_) => f.write_str("cannot start the apps together"),
            Self::Signal(name, _) => write!(f, "cannot signal app {name}"),
            Self::Status(name, _) => write!(f, "cannot write the status of app {name}"),
            Self::NotifySocket(name, _) => write!(f, "cannot make the notify socket of app {name}"),
            Self::NeverReady(name) => write!(f, "app {name} ended and never said READY=1: the pod will not be ready"),
            _ => f.write_str("failed"),
        }
    }

    /// The errno at the bottom, if the cause is one.
    fn errno(&self) -> Option<&Errno> {
        match self {
            Self::Descriptor(_, e)
            | Self::Harden(_, e)
            | Self::OpenApp(_, e)
            | Self::Fork(_, e)
            | Self::JoinCgroup(_, e)
            | Self::Socket(_, e)
            | Self::UnshareMounts(e)
            | Self::OpenRoot(_, e)
            | Self::PivotRoot(_, e)
            | Self::Stdin(e)
            | Self::Session(e)
            | Self::ControllingTerminal(e)
            | Self::OwnTerminal(e)
            | Self::Limit(_, e)
            | Self::Nice(_, e)
            | Self::OomScore(_, e)
            | Self::Label(_, _, e)
            | Self::Volume(_, e)
            | Self::WorkingDirectory(_, e)
            | Self::Users(_, e)
            | Self::Nest(_, e)
            | Self::Bounding(_, e)
            | Self::Credentials(_, e)
            | Self::GiveCredentials(e)
            | Self::Capabilities(e)
            | Self::Ambient(_, e)
            | Self::NoNewPrivileges(e)
            | Self::Keyring(e)
            | Self::InstallFilter(e)
            | Self::Watcher(e)
            | Self::Proc(_, e)
            | Self::Exec(_, e)
            | Self::Wait(e)
            | Self::Gate(e)
            | Self::NotifySocket(_, e)
            | Self::Signal(_, e) => Some(e),
            _ => None,
        }
    }

    /// The kind of failure, for programs: it does not change when the words do.
    fn code(&self) -> &'static str {
        match self {
            Self::Arguments(_) | Self::Descriptor(..) => "arguments",
            Self::Contract(_) | Self::WrongName(..) | Self::Empty(..) => "app-file",
            Self::Filter(..) | Self::OpenApp(..) => "app-file",
            Self::KeeperGone => "keeper-gone",
            Self::Builder(_) => "build-root",
            Self::Reported(..) => "start-app",
            Self::Enter(..) => "enter-app",
            Self::Status(..) => "write-status",
            Self::NeverReady(_) => "never-ready",
            _ => "run-pod",
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Contract(error) => error.source(),
            Self::Enter(_, error) => Some(&**error),
            Self::Landlock(error) => Some(error),
            Self::Status(_, error) => Some(error),
            other => other
                .errno()
                .map(|e| e as &(dyn std::error::Error + 'static)),
        }
    }
}

/// The errno of an error of the standard library.
pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The error and its causes on one line.
pub(crate) fn joined(error: &Error) -> String {
    let mut line = error.to_string();
    if let Error::Reported(_, failure) = error {
        line.push_str(": ");
        line.push_str(&failure.cause);
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        match error.downcast_ref::<Errno>() {
            Some(errno) => line.push_str(errno.desc()),
            None => line.push_str(&error.to_string()),
        }
        cause = error.source();
    }
    line
}

/// One line on standard error, as text or, when stage0 asked for it, as JSON.
pub(crate) fn print(error: &Error) {
    let cause = joined(error);
    let json = std::env::var_os(pod::ERROR_FORMAT_VARIABLE).is_some_and(|format| format == "json");
    let line = if json {
        let record = serde_json::json!({
            "stage": "stage2",
            "code": error.code(),
            "cause": cause,
            "hint": error.hint(),
        });
        format!("{record}\n")
    } else {
        match error.hint() {
            Some(hint) => format!("skua: stage2: {cause}\nhint: {hint}\n"),
            None => format!("skua: stage2: {cause}\n"),
        }
    };
    // Nobody is left to be told when standard error is gone.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

//! What to do about an error.

use nix::errno::Errno;

use super::Error;

impl Error {
    /// What the user can do about it, where the cause is known.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Reported(_, failure) => failure.hint.as_deref(),
            Self::Enter(_, error) => error.hint(),
            Self::Limit(_, Errno::EPERM) => {
                Some("a pod cannot raise a hard limit above that of the process that started it")
            }
            Self::Nice(_, Errno::EACCES | Errno::EPERM) => Some(
                "a pod cannot lower it: start it with Nice= of its unit, or as root with nice(1)",
            ),
            Self::OomScore(_, Errno::EACCES | Errno::EPERM) => Some(
                "a pod cannot lower it: start it with OOMScoreAdjust= of its unit, or as root with choom(1)",
            ),
            Self::Exec(_, Errno::ENOEXEC) => {
                Some("is the image made for this machine's architecture?")
            }
            // The kernel says so of the loader and of the interpreter too.
            Self::Exec(_, Errno::ENOENT) => Some(
                "it is not in the image, or the loader or the interpreter ('#!') that it needs is not",
            ),
            Self::Exec(_, Errno::EACCES) => {
                Some("it is no program, or this user may not execute it, or its volume is noexec")
            }
            Self::NotMapped(..) => Some(
                "an ordinary user's pods have as many ids as /etc/subuid and /etc/subgid give, root's 65536",
            ),
            Self::ScopeMissing => Some(
                "with `--insecure-options=landlock` the apps reach the abstract sockets of the host, and run",
            ),
            Self::WorkingDirectory(_, Errno::EROFS) => {
                Some("it is missing, and would have to be made in what is read-only")
            }
            Self::NoWorkingDirectory(_) => {
                Some("make it there, for the app's user: nothing is made on the host but by apps")
            }
            _ => None,
        }
    }
}

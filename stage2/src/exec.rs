//! The last step: the program is searched in the app's own root, with the app's own rights, and executed.
//!
//! **Runs as** the app, confined. **Needs** [`Confined`]. **Leaves** the program. **Undone by** nothing.

use std::convert::Infallible;
use std::ffi::CString;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::signal::SigSet;
use nix::unistd::{execve, getpid};
use pod::{AppFile, AppNotify};

use crate::confine::Confined;
use crate::error::Error;
use crate::sockets::{self, Socket};

/// Where programs are searched when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Executes the app. Returns only when that failed.
pub(crate) fn app(
    app: &AppFile,
    confined: &Confined,
    sockets: &[Socket],
) -> Result<Infallible, Error> {
    let mut environment = environment(app, confined);
    sockets::tell(sockets, &mut environment);
    let argv = strings(&app.argv, "an argument")?;
    let variables = strings(&environment, "the environment")?;
    let program = app.argv.first().map_or("", String::as_str);
    SigSet::empty()
        .thread_set_mask()
        .map_err(|e| Error::Harden("unblock signals", e))?;
    let mut refused = None;
    for candidate in candidates(program, &environment) {
        match execute(&candidate, &argv, &variables) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => refused = refused.or(Some(Error::Exec(candidate, Errno::EACCES))),
            error => return Err(Error::Exec(candidate, error)),
        }
    }
    Err(refused.unwrap_or_else(|| not_found(program)))
}

fn not_found(program: &str) -> Error {
    if program.contains('/') {
        Error::Exec(program.to_owned(), Errno::ENOENT)
    } else {
        Error::NotFound(program.to_owned())
    }
}

/// Tries one path, which begins at the root or at the working directory, as `execve` has it. One through `/proc/<pid>/fd` or
/// `exe` is refused: it could name our own program or a descriptor.
fn execute(path: &str, argv: &[CString], environment: &[CString]) -> Errno {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    if let Err(error) = openat2(AT_FDCWD, path, how) {
        return error;
    }
    match CString::new(path) {
        Ok(path) => match execve(&path, argv, environment) {
            Err(error) => error,
            Ok(never) => match never {},
        },
        Err(_) => Errno::EINVAL,
    }
}

/// A program with a slash is a path; else it is searched in the absolute directories of `PATH`.
fn candidates(program: &str, environment: &[String]) -> Vec<String> {
    if program.is_empty() || program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = variable(environment, "PATH").unwrap_or(DEFAULT_PATH);
    path.split(':')
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| format!("{}/{program}", directory.trim_end_matches('/')))
        .collect()
}

fn variable<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// The app's environment, with `HOME` and `USER` of its user where it has none.
fn environment(app: &AppFile, confined: &Confined) -> Vec<String> {
    let mut environment = app.environment.clone();
    let identity = &confined.identity;
    if variable(&environment, "HOME").is_none() {
        environment.push(format!("HOME={}", identity.home));
    }
    if let Some(name) = &identity.name
        && variable(&environment, "USER").is_none()
    {
        environment.push(format!("USER={name}"));
    }
    if let Some(notify) = &app.notify {
        tell_how(notify, &mut environment);
    }
    environment
}

/// Where the app tells how it goes, and how often that is to be, in place of what its image says about that.
fn tell_how(notify: &AppNotify, environment: &mut Vec<String>) {
    let mut ours = vec![(pod::NOTIFY_VARIABLE, pod::APP_NOTIFY_SOCKET.to_owned())];
    if let Some(pause) = notify.watchdog_us {
        ours.push((pod::WATCHDOG_VARIABLE, pause.to_string()));
        ours.push((pod::WATCHDOG_PID_VARIABLE, getpid().to_string()));
    }
    for name in [
        pod::NOTIFY_VARIABLE,
        pod::WATCHDOG_VARIABLE,
        pod::WATCHDOG_PID_VARIABLE,
    ] {
        environment.retain(|entry| entry.split('=').next() != Some(name));
    }
    environment.extend(
        ours.into_iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
}

fn strings(list: &[String], what: &'static str) -> Result<Vec<CString>, Error> {
    list.iter()
        .map(|text| CString::new(text.as_str()).map_err(|_| Error::Nul(what)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_directories_of_path_are_searched() {
        for (path, expected) in [
            ("PATH=/bin:/usr/bin/", vec!["/bin/x", "/usr/bin/x"]),
            ("PATH=.:bin::/a", vec!["/a/x"]),
            ("PATH=", vec![]),
            ("PATHS=/b", DEFAULT_PATH.split(':').collect()),
        ] {
            let found = candidates("x", &[path.to_owned()]);
            let expected: Vec<_> = expected
                .iter()
                .map(|e| {
                    if e.ends_with("/x") {
                        (*e).to_owned()
                    } else {
                        format!("{e}/x")
                    }
                })
                .collect();
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(candidates("./x", &[]), ["./x"]);
        assert_eq!(candidates("/x", &[]), ["/x"]);
    }
}

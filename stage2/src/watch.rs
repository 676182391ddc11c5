//! With `--debug`: who refuses a system call says so on standard error, once for each call and errno of an app.
//!
//! The app's filter is changed so that what would fail with an errno is told to a *watcher*, which answers with that very
//! errno. It never lets a call go on: what the filter refuses stays refused, also when the watcher is gone (ENOSYS then).
//! The watcher is forked by the app's process before the filter is there and shares its table of descriptors, so that no call
//! that a filter might refuse is needed to hand the listener over.
//!
//! **Runs as** the app's process; the watcher: the pod's user, no capabilities. **Leaves** a filter and a watcher.
//! **Undone by** the end of the app's processes, or of the pod.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::thread::sleep;
use std::time::Duration;

use libc::sock_filter;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{ForkResult, dup};
use pod::AppName;

use crate::capability;
use crate::error::Error;
use crate::sys::{self, notify};

/// `SECCOMP_RET_ERRNO`, and the bits of an action and of its value.
const ERRNO: u32 = 0x0005_0000;
const ACTION: u32 = 0xffff_0000;
/// The code of `return` in a filter.
const RETURN: u16 = 0x06;
/// How long the listener is waited for: the watcher's parent opens it at once or never.
const PATIENCE: u32 = 10_000;
const MOMENT: Duration = Duration::from_millis(1);
/// No more lines than this for one app.
const MOST: usize = 200;

/// Names of system calls by their numbers, as stage1 wrote them down.
pub(crate) type Names = BTreeMap<u32, String>;

/// Installs `filter` with a watcher.
pub(crate) fn install(filter: &[sock_filter], app: &AppName, names: &Names) -> Result<(), Error> {
    let telling: Vec<sock_filter> = filter.iter().map(told).collect();
    let number = next_number().map_err(Error::Watcher)?;
    match notify::fork_sharing_descriptors().map_err(Error::Watcher)? {
        ForkResult::Parent { .. } => {
            let listener =
                notify::install_telling_filter(&telling).map_err(Error::InstallFilter)?;
            // The watcher has the number that was announced, and its own hold on it; exec closes ours.
            std::mem::forget(listener);
            Ok(())
        }
        ForkResult::Child => {
            let _ = watch(number, filter, app, names);
            sys::exit_now(0)
        }
    }
}

/// An errno becomes a question to the watcher.
fn told(instruction: &sock_filter) -> sock_filter {
    let mut instruction = *instruction;
    if instruction.code == RETURN && instruction.k & ACTION == ERRNO {
        instruction.k = libc::SECCOMP_RET_USER_NOTIF;
    }
    instruction
}

/// The number that the next descriptor of this process gets.
fn next_number() -> Result<RawFd, Errno> {
    use std::os::fd::AsRawFd;
    dup(sys::standard(2)).map(|next| next.as_raw_fd())
}

/// The watcher.
fn watch(
    number: RawFd,
    filter: &[sock_filter],
    app: &AppName,
    names: &Names,
) -> Result<Infallible, Error> {
    prctl::set_name(c"skua-watch").map_err(Error::Watcher)?;
    capability::keep(&[])?;
    let mut tries = 0..PATIENCE;
    let listener = loop {
        match notify::opened(number) {
            Some(listener) => break listener,
            None if tries.next().is_some() => sleep(MOMENT),
            None => return Err(Error::Watcher(Errno::ETIMEDOUT)),
        }
    };
    // From now on the table is ours alone, with nothing of the app's in it but the standard streams.
    unshare(CloneFlags::CLONE_FILES).map_err(Error::Watcher)?;
    let listener = sys::move_to(listener, 3).map_err(Error::Watcher)?;
    sys::close_from(4).map_err(Error::Watcher)?;
    let mut said = BTreeSet::new();
    loop {
        let call = next(&listener).map_err(Error::Watcher)?;
        let Some(call) = call else { continue };
        let data = &call.data;
        let errno = refusal(filter, data).unwrap_or(libc::EPERM);
        if said.len() < MOST && said.insert((data.nr, errno)) {
            say(app, names, data, errno);
        }
        // Its process may have ended meanwhile.
        let _ = notify::refuse(&listener, call.id, errno);
    }
}

/// Waits for a call; an error when nobody is left who could make one.
fn next(listener: &OwnedFd) -> Result<Option<libc::seccomp_notif>, Errno> {
    let mut watched = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error),
    }
    let events = watched[0].revents().unwrap_or(PollFlags::empty());
    if !events.contains(PollFlags::POLLIN) && events.contains(PollFlags::POLLHUP) {
        return Err(Errno::ESRCH);
    }
    match notify::receive(listener) {
        Ok(call) => Ok(Some(call)),
        Err(Errno::ENOENT | Errno::EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn say(app: &AppName, names: &Names, data: &libc::seccomp_data, errno: i32) {
    let number = data.nr.cast_unsigned();
    let name = names.get(&number).map_or("unknown", String::as_str);
    let [first, second, third, ..] = data.args;
    let errno = Errno::from_raw(errno);
    let line = format!(
        "skua: app {app}: the seccomp filter refused system call {name} ({number:#x}) with {errno:?}; arguments {first:#x}, {second:#x}, {third:#x}, …\n"
    );
    // Nobody may be left to be told.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// With which errno the filter refuses a call: the filter is run as the kernel runs it. `None`: it does not.
fn refusal(filter: &[sock_filter], data: &libc::seccomp_data) -> Option<i32> {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let &sock_filter { code, jt, jf, k } = filter.get(at)?;
        at += 1;
        let branch = |holds| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = word(data, k)?,
            0x54 => accumulator &= k,
            0x05 => at += usize::try_from(k).ok()?,
            0x15 => at += branch(accumulator == k),
            0x25 => at += branch(accumulator > k),
            0x35 => at += branch(accumulator >= k),
            RETURN if k & ACTION == ERRNO => return i32::try_from(k & !ACTION).ok(),
            _ => return None,
        }
    }
}

/// 32 bits of `struct seccomp_data` at an offset, on a little-endian machine.
fn word(data: &libc::seccomp_data, offset: u32) -> Option<u32> {
    let low = |value: u64| (value & 0xffff_ffff) as u32;
    match offset {
        0 => Some(data.nr.cast_unsigned()),
        4 => Some(data.arch),
        16..64 => {
            let at = usize::try_from(offset - 16).ok()?;
            let argument = data.args.get(at / 8)?;
            match at % 8 {
                0 => Some(low(*argument)),
                4 => Some(low(*argument >> 32)),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    #[test]
    fn the_errno_is_the_one_of_the_filter() {
        let filter = [
            instruction(0x20, 0, 0, 0),
            instruction(0x15, 165, 0, 1),
            instruction(RETURN, ERRNO | 1, 0, 0),
            instruction(0x20, 20, 0, 0),
            instruction(0x35, 7, 0, 1),
            instruction(RETURN, ERRNO | 97, 0, 0),
            instruction(RETURN, 0x7fff_0000, 0, 0),
        ];
        let call = |nr, first: u64| libc::seccomp_data {
            nr,
            arch: 0,
            instruction_pointer: 0,
            args: [first, 0, 0, 0, 0, 0],
        };
        assert_eq!(refusal(&filter, &call(165, 0)), Some(1));
        assert_eq!(refusal(&filter, &call(0, 7 << 32)), Some(97));
        assert_eq!(refusal(&filter, &call(0, 7)), None);
        assert_eq!(refusal(&filter[..1], &call(0, 7)), None);
        let telling: Vec<u32> = filter.iter().map(told).map(|i| i.k).collect();
        let question = libc::SECCOMP_RET_USER_NOTIF;
        assert_eq!((telling[2], telling[5]), (question, question));
        assert_eq!(telling[6], 0x7fff_0000);
    }
}

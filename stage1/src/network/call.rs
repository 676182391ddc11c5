//! One execution of a plugin: configuration in, answer out, within limits of time and size, and nothing left running.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::error::NetworkError;
use crate::sys;

/// The bytes of standard error that are kept; what comes after them is read and forgotten.
const KEPT_OF_STDERR: usize = 16 << 10;

/// What is executed and how.
pub(super) struct Call<'a> {
    /// The plugin.
    pub(super) program: &'a Path,
    /// `CNI_COMMAND`.
    pub(super) command: &'static str,
    /// The whole environment.
    pub(super) environment: &'a [(&'static str, String)],
    /// Standard input.
    pub(super) input: &'a [u8],
    /// How long it may take.
    pub(super) limit: Duration,
    /// The most bytes of its answer.
    pub(super) most: usize,
    /// Becomes readable when the pod is to stop.
    pub(super) interrupt: Option<BorrowedFd<'a>>,
}

/// What a plugin that ended by itself has said.
pub(super) struct Answer {
    /// It exited with 0.
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Call<'_> {
    /// Executes the plugin and waits for its exit, not for the end of its output: somebody else may hold that open.
    pub(super) fn run(&self) -> Result<Answer, NetworkError> {
        let child = self
            .spawn()
            .map_err(|e| NetworkError::Spawn(self.program.to_owned(), e))?;
        let mut group = Group(child);
        let unwatched = |e| NetworkError::Watch(self.program.to_owned(), e);
        let pidfd = sys::pidfd_open(group.0.id()).map_err(unwatched)?;
        let mut output = Output::of(&mut group.0, self.most).map_err(unwatched)?;
        self.watch(&pidfd, &mut output)?;
        group.kill();
        let status = group.0.wait().map_err(unwatched)?;
        output.read_rest().map_err(unwatched)?;
        self.check_size(&output)?;
        if let Some(signal) = status.signal() {
            let program = self.program.to_owned();
            return Err(NetworkError::Died(program, self.command, signal));
        }
        Ok(Answer {
            success: status.success(),
            stdout: output.stdout.bytes,
            stderr: output.stderr.bytes,
        })
    }

    fn spawn(&self) -> io::Result<Child> {
        sys::close_at_exec_from(3)?;
        let mut command = Command::new(self.program);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(input(self.input)?))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // The keeper blocks signals that would end a plugin, and what that leaves running. And a keeper that is killed
        // must not leave a plugin that still adds what `gc` is about to remove.
        sys::starts_afresh(&mut command);
        command.spawn()
    }

    /// Reads until the plugin has exited.
    fn watch(&self, pidfd: &OwnedFd, output: &mut Output) -> Result<(), NetworkError> {
        let program = || self.program.to_owned();
        let began = Instant::now();
        loop {
            let left = self.limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                let seconds = self.limit.as_secs();
                return Err(NetworkError::TimedOut(program(), self.command, seconds));
            }
            let ready = self
                .wait(pidfd, output, left)
                .and_then(|ready| output.read(ready).map(|()| ready))
                .map_err(|e| NetworkError::Watch(program(), e))?;
            self.check_size(output)?;
            if ready.exited {
                return Ok(());
            }
            if ready.interrupted {
                return Err(NetworkError::Interrupted(program(), self.command));
            }
        }
    }

    /// Waits for something to happen.
    fn wait(&self, pidfd: &OwnedFd, output: &Output, left: Duration) -> io::Result<Ready> {
        let sources = [
            Some(pidfd.as_fd()),
            self.interrupt,
            output.stdout.pipe.as_ref().map(File::as_fd),
            output.stderr.pipe.as_ref().map(File::as_fd),
        ];
        let mut polled: Vec<PollFd<'_>> = sources
            .iter()
            .flatten()
            .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
            .collect();
        // Rounded up: a wait of less than a millisecond would be none.
        let timeout =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut happened = polled.iter().map(|fd| fd.any().unwrap_or_default());
        let mut ready = |source: Option<BorrowedFd<'_>>| {
            source.is_some() && happened.next().unwrap_or_default()
        };
        Ok(Ready {
            exited: ready(sources[0]),
            interrupted: ready(sources[1]),
            stdout: ready(sources[2]),
            stderr: ready(sources[3]),
        })
    }

    fn check_size(&self, output: &Output) -> Result<(), NetworkError> {
        match output.stdout.bytes.len() > self.most {
            true => Err(NetworkError::TooMuch(
                self.program.to_owned(),
                self.command,
                self.most,
            )),
            false => Ok(()),
        }
    }
}

/// What has happened.
#[derive(Clone, Copy)]
struct Ready {
    exited: bool,
    interrupted: bool,
    stdout: bool,
    stderr: bool,
}

/// A plugin and what it started, as long as that stays in its process group.
struct Group(Child);

impl Group {
    /// Kills the group. The plugin has not been waited for, so its number is still its own.
    fn kill(&mut self) {
        if let Ok(leader) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.kill();
            let _ = self.0.wait();
        }
    }
}

/// Standard output and error of a plugin.
struct Output {
    stdout: Sink,
    stderr: Sink,
}

impl Output {
    fn of(child: &mut Child, most: usize) -> io::Result<Self> {
        Ok(Self {
            stdout: Sink::new(child.stdout.take().map(OwnedFd::from), most + 1)?,
            stderr: Sink::new(child.stderr.take().map(OwnedFd::from), KEPT_OF_STDERR)?,
        })
    }

    fn read(&mut self, ready: Ready) -> io::Result<()> {
        if ready.stdout {
            self.stdout.read()?;
        }
        if ready.stderr {
            self.stderr.read()?;
        }
        Ok(())
    }

    /// Reads what was written before the plugin exited.
    fn read_rest(&mut self) -> io::Result<()> {
        for sink in [&mut self.stdout, &mut self.stderr] {
            while sink.read()? && sink.bytes.len() < sink.keep {}
        }
        Ok(())
    }
}

/// One stream: read to its end, kept up to a limit.
struct Sink {
    pipe: Option<File>,
    bytes: Vec<u8>,
    keep: usize,
}

impl Sink {
    fn new(pipe: Option<OwnedFd>, keep: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self {
            pipe: pipe.map(File::from),
            bytes: Vec::new(),
            keep,
        })
    }

    /// Reads once; whether there may be more at once.
    fn read(&mut self) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(false);
        };
        let mut buffer = [0; 16 << 10];
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                Ok(false)
            }
            Ok(count) => {
                let room = self.keep.saturating_sub(self.bytes.len());
                self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e),
        }
    }
}

/// A descriptor to read `bytes` from: not a pipe, which would have to be fed while the plugin runs.
fn input(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut memory = File::from(memfd_create(c"cni", MFdFlags::MFD_CLOEXEC)?);
    memory.write_all(bytes)?;
    memory.rewind()?;
    Ok(memory.into())
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;

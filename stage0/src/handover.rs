//! Calling stage1: for a pod's life by exec, so that the keeper has our pid; for single errands as a child.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use pod::{DEBUG_VARIABLE, ERROR_FORMAT_VARIABLE, LOCK_FD_VARIABLE, Locked, PodDir, PodManifest};

use crate::context::{Context, absolute};
use crate::error::{Error, ErrorFormat};
use crate::given::Given;
use crate::libexec::Named;

/// The program of stage1's entrypoints.
const STAGE1: &str = "skua-stage1";

/// One stage1.
pub(crate) struct Stage1<'a> {
    program: PathBuf,
    named: Named,
    context: &'a Context,
}

impl<'a> Stage1<'a> {
    /// The one typed with `--stage1`, else skua's own.
    pub(crate) fn new(typed: Option<&Path>, context: &'a Context) -> Result<Self, Error> {
        let (program, named) = match typed {
            Some(path) => (absolute(path)?, Named::Stage1),
            None => (context.libexec.program(STAGE1)?, context.libexec.named()),
        };
        if !matches!(named, Named::Installation) {
            context.policy()?.check_stage1(&program)?;
        }
        Ok(Self {
            program,
            named,
            context,
        })
    }

    fn not_executed(&self, error: io::Error) -> Error {
        Error::Exec(self.program.clone(), self.named, error)
    }

    /// Becomes the keeper of a pod in state `run`. Only a failure comes back.
    pub(crate) fn run(&self, pod: &Locked, given: &Given) -> Error {
        let mut command = self.command("run", &pod.pod.dir());
        if let Err(error) = inherit(pod.lock.as_fd()).and_then(|()| given.inherit(&mut command)) {
            return error;
        }
        self.debug(&mut command);
        command.env(LOCK_FD_VARIABLE, pod.lock.as_raw_fd().to_string());
        log::debug!(
            "pod {} is handed over to {}",
            pod.pod.id,
            self.program.display()
        );
        self.not_executed(command.exec())
    }

    /// Becomes a program in a running pod. Only a failure comes back.
    pub(crate) fn enter<S: AsRef<OsStr>>(&self, dir: &PodDir, arguments: &[S]) -> Error {
        let mut command = self.command("enter", dir);
        self.not_executed(command.args(arguments).exec())
    }

    /// Asks the keeper of a running pod to end it, or kills the pod.
    pub(crate) fn stop(&self, dir: &PodDir, force: bool) -> Result<(), Error> {
        let mut command = self.command("stop", dir);
        if force {
            command.arg("--force");
        }
        self.errand("stop", command)
    }

    /// Sends a signal to the apps of a running pod.
    pub(crate) fn kill(&self, dir: &PodDir, signal: i32) -> Result<(), Error> {
        let mut command = self.command("kill", dir);
        command.arg(signal.to_string());
        self.errand("kill", command)
    }

    /// The plan of a pod, as it is printed.
    pub(crate) fn explain(&self, dir: &PodDir, form: Form) -> Result<String, Error> {
        let mut command = self.command("explain", dir);
        command.args(form.option());
        self.answer("explain", command, b"")
    }

    /// The plan of a pod that is not made.
    pub(crate) fn explain_draft(
        &self,
        manifest: &PodManifest,
        form: Form,
    ) -> Result<String, Error> {
        let mut command = self.command("explain", &PodDir::new("/".into()));
        command.args(form.option()).arg("--stdin");
        self.debug(&mut command);
        let failed = |e| self.not_executed(e);
        let input = pod::to_bytes(manifest).map_err(failed)?;
        self.answer("explain", command, &input)
    }

    /// Clears away what a pod without a keeper left outside its directory. What is abandoned of its networks, if that may be: one
    /// line for each.
    pub(crate) fn gc(&self, pod: &Locked, networks: Networks) -> Result<String, Error> {
        inherit(pod.lock.as_fd())?;
        let mut command = self.command("gc", &pod.pod.dir());
        command.args((networks == Networks::Abandoned).then_some("--abandon-networks"));
        command.env(LOCK_FD_VARIABLE, pod.lock.as_raw_fd().to_string());
        self.answer("gc", command, b"")
    }

    /// Lets a pod say more, with `--debug`.
    fn debug(&self, command: &mut Command) {
        if self.context.debug {
            command.env(DEBUG_VARIABLE, "1");
        }
    }

    fn command(&self, entrypoint: &str, dir: &PodDir) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(entrypoint).current_dir(dir.path());
        if self.context.error_format == ErrorFormat::Json {
            command.env(ERROR_FORMAT_VARIABLE, "json");
        }
        command
    }

    /// Runs a child to its end. What it says went wrong becomes the cause of our one error.
    fn errand(&self, entrypoint: &'static str, command: Command) -> Result<(), Error> {
        self.answer(entrypoint, command, b"").map(drop)
    }

    /// Runs a child to its end with `input`; what it prints. It reads all of its input before it prints, or none.
    fn answer(
        &self,
        entrypoint: &'static str,
        mut command: Command,
        input: &[u8],
    ) -> Result<String, Error> {
        let failed = |e| self.not_executed(e);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove(ERROR_FORMAT_VARIABLE)
            .env_remove(pod::NOTIFY_VARIABLE)
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read says in its own words why it failed.
            let _ = stdin.write_all(input);
        }
        let ended = child.wait_with_output().map_err(failed)?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let lines = |prefix| {
            said.lines()
                .filter_map(move |line| line.strip_prefix(prefix))
        };
        let why = match lines("skua: stage1: ").collect::<Vec<_>>() {
            said if said.is_empty() => ended.status.to_string(),
            said => said.join("; "),
        };
        Err(Error::Stage1 {
            entrypoint,
            why,
            hint: lines("hint: ").next_back().map(str::to_owned),
        })
    }
}

/// What becomes of networks that a dead pod cannot leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Networks {
    /// The pod is kept for them.
    Left,
    /// They keep what they have for the pod.
    Abandoned,
}

/// How stage1 prints a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Form {
    fn option(self) -> Option<&'static str> {
        (self == Self::Json).then_some("--json")
    }
}

/// Lets the descriptor of a pod's lock through exec: all others are closed there.
fn inherit(lock: BorrowedFd<'_>) -> Result<(), Error> {
    let kept = fcntl(lock, FcntlArg::F_SETFD(FdFlag::empty()));
    kept.map(|_| ()).map_err(|e| Error::InheritLock(e.into()))
}

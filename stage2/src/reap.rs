//! Pid 1's loop: signals in, children out, one status per app.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use pod::{AppFile, AppStatus, Outcome};

use crate::app::{App, Started};
use crate::error::{self, Error};
use crate::listener::Listener;
use crate::report::{Failure, Gate};
use crate::status;
use crate::stop::{Act, Stop};
use crate::sys::{self, Ended};
use crate::teller::{Heard, Teller};

/// All apps of the pod.
pub(crate) struct Apps {
    running: Vec<Running>,
    directory: OwnedFd,
    stop: Stop,
    /// The exit status of the first app that failed.
    failed: Option<u8>,
    /// The gate was opened: the apps have been executed.
    released: bool,
    /// The app that could not be started, so that none was.
    culprit: Option<Pid>,
    /// Has to tell the keeper when they have been.
    pub(crate) teller: Option<Teller>,
    /// Hears those that tell how they go.
    pub(crate) listener: Option<Listener>,
}

/// One app that has not ended.
struct Running {
    file: AppFile,
    process: Started,
    started: u64,
}

impl Apps {
    /// Starts all apps: together, or none. When one cannot be forked, pid 1 ends, and the others with it.
    pub(crate) fn start(
        apps: Vec<App>,
        directory: OwnedFd,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let gate = Gate::new(apps.len()).map_err(Error::Gate)?;
        let mut running = Vec::with_capacity(apps.len());
        for app in apps {
            let started = status::now();
            let process = app.start(&gate)?;
            running.push(Running {
                file: app.file,
                process,
                started,
            });
        }
        let mut apps = Self {
            running,
            directory,
            stop: Stop::new(timeout),
            failed: None,
            released: false,
            culprit: None,
            teller: None,
            listener: None,
        };
        apps.culprit = apps.wait_until_ready()?;
        if apps.culprit.is_none() {
            apps.released = true;
            gate.open();
        } else {
            apps.act(Act::KillAll)?;
        }
        Ok(apps)
    }

    /// Waits until every child is confined, and writes down who each is; the first that has failed, or was ended.
    fn wait_until_ready(&self) -> Result<Option<Pid>, Error> {
        for app in &self.running {
            match app.process.reports.ready().map_err(Error::Gate)? {
                Some(ids) => status::write_ids(&self.directory, &app.file.name, ids)?,
                None => return Ok(Some(app.process.pid)),
            }
        }
        Ok(None)
    }

    /// Waits until every app has ended; the exit status of the pod.
    pub(crate) fn wait(&mut self, signals: &SigSet) -> Result<u8, Error> {
        while !self.running.is_empty() {
            self.tell()?;
            self.listen()?;
            let patience = self.stop.patience(Instant::now());
            match sys::wait_for_signal(signals, patience) {
                Ok(Some(signal)) if signal.number == libc::SIGCHLD => self.reap()?,
                // A signal from inside the pod is not obeyed: no app ends its neighbours through pid 1.
                Ok(Some(signal)) if signal.from_outside => {
                    let act = self.stop.signal(signal.number, Instant::now());
                    self.act(act)?;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(Error::Wait(error)),
            }
            let act = self.stop.tick(Instant::now());
            self.act(act)?;
        }
        self.tell()?;
        Ok(self.failed.unwrap_or(0))
    }

    /// Tells the keeper that every app has been executed, as soon as that is so, unless something else is to be done first. An
    /// app that has ended meanwhile had been, or has taken the teller away.
    fn tell(&mut self) -> Result<(), Error> {
        let Some(teller) = self.teller.take_if(|_| self.released) else {
            return Ok(());
        };
        let reports = self.running.iter().map(|app| &app.process.reports);
        let patience = self.stop.patience(Instant::now());
        let heard = teller.wait(&reports.collect::<Vec<_>>(), patience);
        match heard.map_err(Error::Wait)? {
            Heard::All => match &mut self.listener {
                Some(listener) => listener.executed(teller.into_keeper()),
                None => teller.tell(),
            },
            Heard::Failure => {}
            Heard::Other => self.teller = Some(teller),
        }
        Ok(())
    }

    /// Hears what apps tell until there is something else to do. Before all have been executed, what they say waits.
    fn listen(&mut self) -> Result<(), Error> {
        let patience = self.stop.patience(Instant::now());
        match &mut self.listener {
            Some(listener) if self.teller.is_none() => listener.wait(patience).map_err(Error::Wait),
            _ => Ok(()),
        }
    }

    /// Takes every child that has ended, apps and orphans alike.
    fn reap(&mut self) -> Result<(), Error> {
        loop {
            match sys::reap() {
                Ok(Some(ended)) => self.ended(&ended)?,
                Ok(None) | Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(Error::Wait(error)),
            }
        }
    }

    fn ended(&mut self, ended: &Ended) -> Result<(), Error> {
        let is = |app: &Running| app.process.pid == ended.pid;
        let Some(at) = self.running.iter().position(is) else {
            return Ok(());
        };
        let mut app = self.running.remove(at);
        let name = app.file.name;
        let ready = self
            .listener
            .as_mut()
            .and_then(|listener| listener.ended(&name));
        let failure = app.process.reports.failure();
        let outcome = match failure.or_else(|| self.ended_early(ended)) {
            Some(failure) => {
                let error = failure.cause.clone();
                self.teller = None;
                error::print(&Error::Reported(name.clone(), failure));
                Outcome::Failed { error }
            }
            None if !self.released => Outcome::Failed {
                error: "not started, because another app of its pod could not be".to_owned(),
            },
            None => outcome(ended.status),
        };
        let mut exit_status = outcome.exit_status();
        let record = AppStatus {
            version: pod::CONTRACT_VERSION,
            name: name.clone(),
            outcome,
            started: app.started,
            ready,
            finished: status::now(),
            timed_out: self.stop.timed_out(),
            usage: status::usage(&ended.usage),
        };
        if let Err(error) = status::write(&self.directory, &record) {
            error::print(&error);
            exit_status = crate::FAILED;
        }
        if exit_status == 0 {
            if app.file.notify.is_some() && ready.is_none() && self.is_awaited() {
                error::print(&Error::NeverReady(name));
            }
            return Ok(());
        }
        self.failed.get_or_insert(exit_status);
        let act = self.stop.failure(Instant::now());
        self.act(act)
    }

    /// Whether the keeper waits for the pod to be ready.
    fn is_awaited(&self) -> bool {
        let heard = self.listener.as_ref().is_some_and(Listener::is_heard);
        self.stop.is_far() && (heard || self.teller.is_some())
    }

    /// What is to be said for an app that was ended before it could say that it is confined.
    fn ended_early(&self, ended: &Ended) -> Option<Failure> {
        if self.culprit != Some(ended.pid) {
            return None;
        }
        let Outcome::Signaled { signal, .. } = outcome(ended.status) else {
            return None;
        };
        let hint = "its seccomp profile kills it for a system call that is needed until then, such as write, read, capget or execve";
        Some(Failure {
            cause: format!("ended by signal {signal} before its program was executed"),
            hint: (signal == libc::SIGSYS).then(|| hint.to_owned()),
        })
    }

    fn act(&self, act: Act) -> Result<(), Error> {
        match act {
            Act::Nothing => Ok(()),
            Act::AskAll => self.each(|app| app.file.stop_signal),
            Act::Forward(number) => self.each(|_| number),
            // Orphans and entered programs too: pid -1 is everything in the pod but us.
            Act::KillAll => match sys::kill(Pid::from_raw(-1), libc::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => Ok(()),
                Err(error) => Err(Error::Wait(error)),
            },
        }
    }

    fn each(&self, number: impl Fn(&Running) -> i32) -> Result<(), Error> {
        for app in &self.running {
            match sys::kill(app.process.pid, number(app)) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(Error::Signal(app.file.name.clone(), error)),
            }
        }
        Ok(())
    }
}

fn outcome(status: libc::c_int) -> Outcome {
    if libc::WIFSIGNALED(status) {
        return Outcome::Signaled {
            signal: libc::WTERMSIG(status),
            core: libc::WCOREDUMP(status),
        };
    }
    Outcome::Exited {
        code: (libc::WEXITSTATUS(status) & 0xff) as u8,
    }
}

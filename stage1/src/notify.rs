//! Tells the service manager how the pod goes (`sd_notify(3)`): READY when every app has been executed, STOPPING when the
//! pod is to end, and both in words. The keeper is the main process of its unit, so `NotifyAccess=main` is enough.
//!
//! **Runs as** the keeper. **Needs** `NOTIFY_SOCKET`, if there is a manager; no process that the keeper starts gets it.
//! **Leaves** nothing. **Undone by** nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pod::{PodManifest, ServiceManager};

use crate::error::Error;
use crate::report;

/// The keeper's word to the manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    manager: Option<ServiceManager>,
    /// What stage2 says when every app has been executed; hangs up when none will be.
    started: Option<io::PipeReader>,
    /// What is said then.
    ready: String,
    stopping: bool,
}

impl Notify {
    /// A manager that cannot be reached is named, and no reason not to run: if it waits, it will say so itself.
    pub(crate) fn of_environment() -> Self {
        let manager = ServiceManager::of_environment().and_then(|found| {
            let failed = |(typed, error)| report::print(&Error::Notify(typed, error));
            found.map_err(failed).ok()
        });
        Self {
            manager,
            ..Self::default()
        }
    }

    /// Where stage2 is to say that every app of the pod has been executed, if somebody wants to know.
    pub(crate) fn expect(&mut self, manifest: &PodManifest) -> Result<Option<OwnedFd>, Error> {
        if self.manager.is_none() {
            return Ok(None);
        }
        let (reader, writer) = io::pipe().map_err(Error::Channel)?;
        self.started = Some(reader);
        let apps: Vec<_> = manifest.apps.iter().map(|app| app.name.as_str()).collect();
        let (id, apps) = (&manifest.id, apps.join(", "));
        self.ready = format!("READY=1\nSTATUS=pod {id} runs: {apps}");
        self.tell(&format!("STATUS=starting pod {id}"));
        Ok(Some(writer.into()))
    }

    /// Becomes readable when [`Self::started`] is to be called.
    pub(crate) fn event(&self) -> Option<BorrowedFd<'_>> {
        self.started.as_ref().map(AsFd::as_fd)
    }

    /// Stage2 has said something, or will never say it.
    pub(crate) fn started(&mut self) {
        let Some(mut started) = self.started.take() else {
            return;
        };
        let mut said = [0];
        let all = io::Read::read(&mut started, &mut said).is_ok_and(|length| length == 1);
        if all && !self.stopping {
            let ready = std::mem::take(&mut self.ready);
            self.tell(&ready);
        }
    }

    /// A signal for the pod has come.
    pub(crate) fn signalled(&mut self, number: i32) {
        if matches!(number, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT) {
            self.stopping("the apps have been asked to end");
        }
    }

    /// The pod is to end, or has ended. Said once.
    pub(crate) fn stopping(&mut self, how: &str) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.tell(&format!("STOPPING=1\nSTATUS={how}"));
        }
    }

    /// A manager that is gone is told nothing more.
    fn tell(&mut self, state: &str) {
        let Some(manager) = self.manager.take() else {
            return;
        };
        match manager.tell(state) {
            Ok(()) => self.manager = Some(manager),
            Err(error) => report::print(&Error::Notify(manager.typed, error)),
        }
    }
}

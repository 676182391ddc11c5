//! Tells the service manager how the pod goes (`sd_notify(3)`): READY when every app has been executed and each that tells
//! (`--notify`) is ready, signs of life of those, STOPPING when the pod is to end, and all this in words. The keeper is the main
//! process of its unit, so `NotifyAccess=main` is enough.
//!
//! What apps say is read by stage2, which passes on that something of this kind was said, and of a status the text. So no app
//! can make the keeper tell the manager anything else, such as another main process.
//!
//! **Runs as** the keeper. **Needs** `NOTIFY_SOCKET`, if there is a manager; no process that the keeper starts gets it.
//! **Leaves** nothing. **Undone by** nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read};
use pod::{AppName, PodManifest, ServiceManager, Word};

use crate::error::Error;
use crate::report;

/// How many words of stage2 are told before the keeper looks after its other duties.
const AT_ONCE: usize = 16;

/// The keeper's word to the manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    manager: Option<ServiceManager>,
    /// The manager was slow, which has been said.
    slow: bool,
    /// Within how many microseconds it wants signs of life.
    watchdog: Option<u64>,
    /// What stage2 says of the apps; hangs up when it has nothing more to say.
    pod: Option<OwnedFd>,
    /// The apps, by their place.
    apps: Vec<AppName>,
    /// One of them tells how it goes: more will come after the first word.
    telling: bool,
    /// What is said when the pod is ready; empty when it has been.
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
            watchdog: manager.is_some().then(pod::watchdog).flatten(),
            manager,
            ..Self::default()
        }
    }

    /// Within how many microseconds the manager wants signs of life.
    pub(crate) fn watchdog(&self) -> Option<u64> {
        self.watchdog
    }

    /// Where stage2 is to say how the apps of the pod go, if somebody wants to know. What it writes at once is read at once.
    pub(crate) fn expect(&mut self, manifest: &PodManifest) -> Result<Option<OwnedFd>, Error> {
        if self.manager.is_none() {
            return Ok(None);
        }
        let flags = OFlag::O_CLOEXEC | OFlag::O_DIRECT | OFlag::O_NONBLOCK;
        let (reader, writer) = pipe2(flags).map_err(|e| Error::Channel(e.into()))?;
        self.pod = Some(reader);
        self.telling = manifest.apps.iter().any(|app| app.notify);
        self.apps = manifest.apps.iter().map(|app| app.name.clone()).collect();
        let apps: Vec<_> = self.apps.iter().map(AppName::as_str).collect();
        let (id, apps) = (&manifest.id, apps.join(", "));
        self.ready = format!("READY=1\nSTATUS=pod {id} runs: {apps}");
        self.tell(&format!("STATUS=starting pod {id}"));
        Ok(Some(writer))
    }

    /// Becomes readable when [`Self::heard`] is to be called.
    pub(crate) fn event(&self) -> Option<BorrowedFd<'_>> {
        self.pod.as_ref().map(AsFd::as_fd)
    }

    /// Stage2 has said something, or will say nothing more.
    pub(crate) fn heard(&mut self) {
        let Some(pod) = self.pod.take() else {
            return;
        };
        let mut bytes = [0; Word::MAX];
        for _ in 0..AT_ONCE {
            match read(&pod, &mut bytes) {
                Ok(length) if length > 0 => {
                    if let Some(word) = bytes.get(..length).and_then(Word::parse) {
                        self.pass_on(word);
                    }
                    if !self.telling {
                        return;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Ok(_) | Err(_) => return,
            }
        }
        self.pod = Some(pod);
    }

    fn pass_on(&mut self, word: Word) {
        match word {
            Word::Ready => {
                let ready = std::mem::take(&mut self.ready);
                if !ready.is_empty() && !self.stopping {
                    self.tell(&ready);
                }
            }
            Word::Alive if self.watchdog.is_some() => self.tell("WATCHDOG=1"),
            Word::Failing if self.watchdog.is_some() => self.tell("WATCHDOG=trigger"),
            Word::Alive | Word::Failing => {}
            Word::Status { app, text } => {
                if let Some(name) = self.apps.get(usize::from(app)) {
                    let status = format!("STATUS={name}: {}", harmless(&text));
                    self.tell(&status);
                }
            }
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

    /// A manager that is gone is told nothing more. One that is slow misses this, and may hear the next sign of life.
    fn tell(&mut self, state: &str) {
        let Some(manager) = &self.manager else {
            return;
        };
        let Err(error) = manager.tell(state) else {
            return;
        };
        let slow = error.kind() == io::ErrorKind::WouldBlock;
        if !slow || !self.slow {
            report::print(&Error::Notify(manager.typed.clone(), error));
        }
        match slow && manager.wait_less().is_ok() {
            true => self.slow = true,
            false => self.manager = None,
        }
    }
}

/// On one line, and without what steers a terminal: a line of its own would tell the manager something else.
fn harmless(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = |char: char| match char {
        '\'' | '"' => String::from(char),
        other => other.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn what_an_app_says_is_one_line_without_control_characters() {
        for (text, expected) in [
            (&b"it's \"warm\""[..], "it's \"warm\""),
            (b"a\nMAINPID=1\r\0\x1b[2J", r"a\nMAINPID=1\r\0\u{1b}[2J"),
            (b"\xff\xc2\x85\xe2\x80\xae", r"�\u{85}\u{202e}"),
            ("größer\u{2028}".as_bytes(), r"größer\u{2028}"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }
}

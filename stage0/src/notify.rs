//! Tells the service manager that images are being fetched (`sd_notify(3)`), and asks it for time meanwhile. What follows is told
//! by the keeper, which is the same process.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use images::digest::Digest;
use images::fetch::{Event, Progress};
use images::reference::ImageName;
use indicatif::HumanBytes;
use pod::ServiceManager;

/// How much time is asked for, and how often. A fetch that does not go on gives up much sooner by itself.
const EXTENSION: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_secs(20);

/// How often progress is told.
const PAUSE: Duration = Duration::from_secs(1);

/// Who started us, and wants to know.
#[derive(Debug)]
pub(crate) struct Manager(ServiceManager);

impl Manager {
    /// A manager that cannot be reached is named, and no reason not to go on: if it waits, it will say so itself.
    pub(crate) fn of_environment() -> Option<Self> {
        let failed = |(typed, error): &(OsString, io::Error)| {
            log::warn!(
                "cannot tell the service manager at NOTIFY_SOCKET={}: {error}",
                typed.to_string_lossy()
            );
        };
        let found = ServiceManager::of_environment()?;
        found.inspect_err(failed).ok().map(Self)
    }

    /// A failure is the keeper's to tell: it will have the same.
    fn tell(&self, state: &str) {
        if let Err(error) = self.0.tell(state) {
            log::debug!("the service manager was not told {state:?}: {error}");
        }
    }

    /// Does `act`, and meanwhile asks again and again for time.
    pub(crate) fn patient<T>(&self, act: impl FnOnce() -> T) -> T {
        let state = format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros());
        let (done, ended) = channel::<()>();
        thread::scope(|scope| {
            let ask = move || {
                loop {
                    self.tell(&state);
                    if ended.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            };
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, ask) {
                log::debug!("the service manager is asked for no more time: {error}");
            }
            let result = act();
            drop(done);
            result
        })
    }
}

/// Shows the progress of one fetch, and tells it to the manager too.
pub(crate) struct Told<'a> {
    manager: &'a Manager,
    shown: &'a dyn Progress,
    name: String,
    state: Mutex<State>,
}

struct State {
    /// How much of each layer has come, and how much there is.
    layers: HashMap<Digest, (u64, u64)>,
    unpacked: usize,
    told: Option<Instant>,
}

impl<'a> Told<'a> {
    /// Of a fetch that begins.
    pub(crate) fn new(manager: &'a Manager, shown: &'a dyn Progress, name: &ImageName) -> Self {
        let name = name.to_string();
        manager.tell(&format!("STATUS=fetching {name}"));
        let state = State {
            layers: HashMap::new(),
            unpacked: 0,
            told: None,
        };
        let state = Mutex::new(state);
        Self {
            manager,
            shown,
            name,
            state,
        }
    }
}

impl State {
    fn note(&mut self, event: Event<'_>) {
        match event {
            Event::Resolved(..) | Event::Waiting(_) => {}
            Event::Layer(digest, size) => drop(self.layers.insert(*digest, (0, size))),
            Event::At(digest, bytes) => {
                if let Some((at, _)) = self.layers.get_mut(digest) {
                    *at = bytes;
                }
            }
            Event::Unpacked(digest) => {
                self.unpacked += 1;
                if let Some((at, size)) = self.layers.get_mut(digest) {
                    *at = *size;
                }
            }
        }
    }

    fn line(&self, name: &str) -> String {
        let sum = |of: fn(&(u64, u64)) -> u64| HumanBytes(self.layers.values().map(of).sum());
        let (at, size) = (sum(|layer| layer.0), sum(|layer| layer.1));
        let (unpacked, layers) = (self.unpacked, self.layers.len());
        format!("STATUS=fetching {name}: {at} of {size}, {unpacked} of {layers} layers unpacked")
    }
}

impl Progress for Told<'_> {
    fn on(&self, event: Event<'_>) {
        self.shown.on(event);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.note(event);
        if !state.layers.is_empty() && state.told.is_none_or(|told| told.elapsed() >= PAUSE) {
            state.told = Some(Instant::now());
            self.manager.tell(&state.line(&self.name));
        }
    }
}

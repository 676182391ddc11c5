//! Listens to the apps that tell how they go: each has a socket of its own, in the `/dev` of its own root.
//!
//! Everything that comes is foreign. A message is read into a buffer of fixed size, and one that is longer is dropped;
//! descriptors that came with it are closed by the kernel, because no room for them is offered; after a few messages pid 1 does
//! something else for a while, and who sends without end waits in a queue of ten. Which app speaks is known by the socket.
//!
//! **Runs as** pid 1: to make the sockets with all its capabilities, to read with none that it needs. **Needs** the roots of the
//! apps, before one of them has begun. **Leaves** a socket in the `/dev` of each such app. **Undone by** the end of the pod.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{chdir, fchdir, write};
use pod::{APP_NOTIFY_SOCKET, AppName};

use crate::app::App;
use crate::error::{self, Error};
use crate::message::{self, Message};
use crate::root::open_in;
use crate::voices::Voices;
use crate::{status, sys};

/// So many messages of an app are read before something else is done, and for so long.
const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(10);
/// After so long a keeper that was busy is told again.
const AGAIN: Duration = Duration::from_millis(100);
/// When nothing has happened for so long, the wait goes on in as little memory as possible.
const SHORT: Duration = Duration::from_millis(200);

/// Listens for as long as the pod runs.
pub(crate) struct Listener {
    /// Readable while a signal waits; it is never read.
    signals: SignalFd,
    apps: Vec<Heard>,
    voices: Voices,
    /// Who wants to know; absent: nobody, or not yet.
    keeper: Option<OwnedFd>,
    /// When messages are read again.
    resume: Option<Instant>,
}

/// An app that tells.
struct Heard {
    name: AppName,
    /// Absent: it has ended.
    socket: Option<UnixDatagram>,
    /// When it said that it was ready.
    ready: Option<u64>,
}

impl Listener {
    /// Makes the sockets; `None`: no app tells.
    pub(crate) fn open(apps: &[App], signals: &SigSet) -> Result<Option<Self>, Error> {
        let telling = || (0..).zip(apps).filter(|(_, app)| app.file.notify.is_some());
        if telling().next().is_none() {
            return Ok(None);
        }
        let watchdog = telling().find_map(|(_, app)| app.file.notify.as_ref()?.watchdog_us);
        let heard = |(_, app): (u16, &App)| {
            let (name, root) = (&app.file.name, &app.file.root);
            let socket = socket(root).map_err(|e| Error::NotifySocket(name.clone(), e))?;
            Ok(Heard {
                name: name.clone(),
                socket: Some(socket),
                ready: None,
            })
        };
        let signals = SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC);
        Ok(Some(Self {
            signals: signals.map_err(|e| Error::Harden("watch for signals", e))?,
            apps: telling().map(heard).collect::<Result<_, _>>()?,
            voices: Voices::new(
                telling().map(|(place, _)| place),
                watchdog.map(Duration::from_micros),
            ),
            keeper: None,
            resume: None,
        }))
    }

    /// Every app has been executed: now this keeper is to hear of them.
    pub(crate) fn executed(&mut self, keeper: OwnedFd) {
        self.keeper = Some(keeper);
        self.tell();
    }

    /// Listens until a signal waits, or so much time has passed.
    pub(crate) fn wait(&mut self, patience: Option<Duration>) -> Result<(), Errno> {
        let end = patience.map(|patience| Instant::now() + patience);
        loop {
            let next = self.tell();
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                return Ok(());
            }
            self.resume = self.resume.filter(|resume| *resume > now);
            let moments = [end, self.resume].into_iter().flatten();
            let limits = moments.map(|moment| moment.saturating_duration_since(now));
            let (signal, speaking) = self.watch(limits.chain(next).min())?;
            if signal {
                return Ok(());
            }
            for at in speaking {
                self.hear(at);
                self.resume = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// Whether a signal waits, and who says something.
    fn watch(&self, limit: Option<Duration>) -> Result<(bool, Vec<usize>), Errno> {
        let mut watched = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut places = Vec::new();
        if self.resume.is_none() {
            for (at, app) in self.apps.iter().enumerate() {
                if let Some(socket) = &app.socket {
                    watched.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
                    places.push(at);
                }
            }
        }
        match wait_for(&mut watched, limit) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let mut happened = watched.iter().map(|fd| fd.any().unwrap_or(false));
        let signal = happened.next().unwrap_or(false);
        let speaking = places
            .into_iter()
            .zip(happened)
            .filter(|(_, speaks)| *speaks);
        Ok((signal, speaking.map(|(at, _)| at).collect()))
    }

    /// Reads what one app has said, though not for ever.
    fn hear(&mut self, at: usize) {
        let Some(app) = self.apps.get_mut(at) else {
            return;
        };
        let Some(socket) = &app.socket else {
            return;
        };
        // One byte more: a message that fills it is too long.
        let mut bytes = [0; message::MAX + 1];
        for _ in 0..AT_ONCE {
            let Ok(length) = socket.recv(&mut bytes) else {
                return;
            };
            if let Some(bytes) = bytes.get(..length).filter(|_| length <= message::MAX) {
                let message = Message::parse(bytes);
                if message.ready {
                    app.ready.get_or_insert_with(status::now);
                }
                self.voices.hear(at, message);
            }
        }
    }

    /// Tells the keeper what is due. How long until more may be; `None`: until somebody says something.
    fn tell(&mut self) -> Option<Duration> {
        let keeper = self.keeper.as_ref()?;
        let now = Instant::now();
        while let Some(word) = self.voices.due(now) {
            match write(keeper, &word.to_bytes()) {
                Ok(_) => self.voices.told(&word, now),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Some(AGAIN),
                // It is gone, and so are we in a moment.
                Err(_) => {
                    self.keeper = None;
                    return None;
                }
            }
        }
        self.voices.wait(now)
    }

    /// Whether the keeper is told.
    pub(crate) fn is_heard(&self) -> bool {
        self.keeper.is_some()
    }

    /// An app has ended: what it had still said counts. When it was ready; `None` of one that tells: never.
    pub(crate) fn ended(&mut self, name: &AppName) -> Option<u64> {
        let at = self.apps.iter().position(|app| app.name == *name)?;
        self.hear(at);
        self.voices.ended(at);
        self.tell();
        let app = self.apps.get_mut(at)?;
        app.socket = None;
        app.ready
    }
}

/// `poll(2)`; a limit is rounded up, so that nothing is looked at again and again in the last millisecond.
fn wait_for(watched: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<i32, Errno> {
    let timeout = |limit: Duration| {
        let limit = limit.saturating_add(Duration::from_micros(999));
        PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
    };
    match (limit, poll(watched, timeout(limit.unwrap_or(SHORT)))) {
        (None, Ok(0)) => {
            sys::forget_code();
            poll(watched, PollTimeout::NONE)
        }
        (_, other) => other,
    }
}

/// Makes the socket of the app with this root. Its name is short wherever the root is, because it is made from where it lies.
fn socket(root: &str) -> Result<UnixDatagram, Errno> {
    let path = Path::new(APP_NOTIFY_SOCKET);
    let (Some(directory), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name())
    else {
        return Err(Errno::EINVAL);
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let root = open(root, flags | OFlag::O_CLOEXEC, Mode::empty())?;
    let directory = open_in(&root, directory, flags)?;
    fchdir(&directory)?;
    let socket = UnixDatagram::bind(name).map_err(|e| error::errno(&e))?;
    socket.set_nonblocking(true).map_err(|e| error::errno(&e))?;
    // Whoever the app is. Nobody else finds the way here.
    let mode = Mode::from_bits_truncate(0o666);
    fchmodat(&directory, name, mode, FchmodatFlags::FollowSymlink)?;
    chdir("/")?;
    Ok(socket)
}

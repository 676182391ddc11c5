//! A service manager that listens: what it is told, and by which process.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use crate::{Env, eventually};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it, by the kernel's word.
    pub pid: i32,
    /// Its lines.
    pub text: String,
}

/// A manager, and all that it has heard.
#[derive(Debug)]
pub struct Manager {
    /// `NOTIFY_SOCKET`.
    pub address: String,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Manager {
    /// One with a socket in the scratch directory of `env`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn at_path(env: &Env) -> Self {
        let path = env.scratch("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("chmod");
        Self::listen(socket, path.display().to_string())
    }

    /// One with an abstract socket.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn abstract_one() -> Self {
        let name = format!(
            "skua-test-notify-{}-{:?}",
            std::process::id(),
            thread::current().id()
        );
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Self::listen(socket, format!("@{name}"))
    }

    fn listen(socket: UnixDatagram, address: String) -> Self {
        setsockopt(&socket, sockopt::PassCred, &true).expect("SO_PASSCRED");
        let heard = Arc::<Mutex<Vec<Message>>>::default();
        let all = Arc::downgrade(&heard);
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        thread::spawn(move || {
            while let Some(all) = all.upgrade() {
                if let Some(message) = receive(&socket) {
                    all.lock().expect("no panic").push(message);
                }
            }
        });
        Self { address, heard }
    }

    /// All messages so far.
    ///
    /// # Panics
    /// When the listener has.
    #[must_use]
    pub fn heard(&self) -> Vec<Message> {
        self.heard.lock().expect("no panic").clone()
    }

    /// The lines of all messages so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let heard = self.heard();
        let lines = heard.iter().flat_map(|message| message.text.lines());
        lines.map(str::to_owned).collect()
    }

    /// Waits until a line begins with `start`.
    ///
    /// # Panics
    /// When none does in time.
    #[track_caller]
    pub fn hears(&self, start: &str) {
        eventually(&format!("the manager hears {start}"), || {
            self.lines().iter().any(|line| line.starts_with(start))
        });
    }
}

fn receive(socket: &UnixDatagram) -> Option<Message> {
    let mut bytes = [0; 4096];
    let mut data = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
    let flags = MsgFlags::empty();
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), flags).ok()?;
    let pid = received.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
        _ => None,
    });
    let length = received.bytes;
    Some(Message {
        pid: pid.expect("the kernel says who"),
        text: String::from_utf8_lossy(&bytes[..length]).into_owned(),
    })
}

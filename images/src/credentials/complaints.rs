//! What a credential helper says on its standard error: its end is kept, for the message when it fails.

use std::fmt;
use std::io::{self, Read};
use std::process::ChildStderr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::escape;

/// The most bytes that are kept: the last ones, since there the reason stands.
const KEPT: usize = 200;

/// How long the end of what a helper said is waited for that has ended: what it left behind may hold its standard error open.
const PATIENCE: Duration = Duration::from_millis(200);

/// The end of what a helper said, escaped; or nothing.
#[derive(Debug, Default)]
pub struct Complaint(String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the standard error of a helper as long as there is one: a helper that nobody reads from may wait or end for that.
pub(super) struct Complaints {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Complaints {
    /// Begins to read.
    pub(super) fn listen(mut from: ChildStderr) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let into = Arc::clone(&kept);
        let listen = move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&bytes[..count]);
                let end = kept.len().saturating_sub(KEPT);
                kept.drain(..end);
            }
            let _ = sender.send(());
        };
        // Not joined, as with its answer.
        thread::Builder::new().spawn(listen)?;
        Ok(Self { kept, ended })
    }

    /// What was said last.
    pub(super) fn last(&self) -> Complaint {
        let _ = self.ended.recv_timeout(PATIENCE);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Complaint(after_colon(kept.trim_ascii()))
    }
}

/// Foreign text as the last part of a message: escaped, with a separator before it, or nothing.
pub(super) fn after_colon(bytes: &[u8]) -> String {
    match bytes {
        [] => String::new(),
        said => format!(": {}", escape::text(said)),
    }
}

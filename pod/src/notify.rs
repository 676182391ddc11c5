//! Apps that tell how they go (`sd_notify(3)`): where each does, and what stage2 tells the keeper of it.

use serde::{Deserialize, Serialize};

/// Where such an app finds its socket, in the `/dev` of its own root: no other app can reach it.
pub const APP_NOTIFY_SOCKET: &str = "/dev/skua-notify";

/// An app that tells how it goes, as stage2 starts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppNotify {
    /// Within how many microseconds the manager wants a sign of life; absent: it wants none.
    pub watchdog_us: Option<u64>,
}

/// What stage2 tells the keeper: one message for each write to `--started-fd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Every app has been executed, and each that tells has said that it is ready. Told once.
    Ready,
    /// Each app that tells has given a sign of life since the last time.
    Alive,
    /// One of them asks for what its silence would lead to.
    Failing,
    /// What one of them says of itself.
    Status {
        /// Its place in the pod.
        app: u16,
        /// Its own words, at most [`Word::MAX_TEXT`] bytes: whoever tells them on makes them harmless.
        text: Vec<u8>,
    },
}

impl Word {
    /// The most bytes of a text.
    pub const MAX_TEXT: usize = 256;
    /// The most bytes of a message.
    pub const MAX: usize = 3 + Self::MAX_TEXT;

    const READY: u8 = 1;
    const ALIVE: u8 = 2;
    const FAILING: u8 = 3;
    const STATUS: u8 = 4;

    /// As it is written. A text that is too long is cut.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ready => vec![Self::READY],
            Self::Alive => vec![Self::ALIVE],
            Self::Failing => vec![Self::FAILING],
            Self::Status { app, text } => {
                let text = text.get(..Self::MAX_TEXT).unwrap_or(text);
                [&[Self::STATUS], &app.to_ne_bytes()[..], text].concat()
            }
        }
    }

    /// What was written; `None`: nothing that means something.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [Self::READY] => Some(Self::Ready),
            [Self::ALIVE] => Some(Self::Alive),
            [Self::FAILING] => Some(Self::Failing),
            [Self::STATUS, first, second, ref text @ ..] if text.len() <= Self::MAX_TEXT => {
                let (app, text) = (u16::from_ne_bytes([first, second]), text.to_vec());
                Some(Self::Status { app, text })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = |text: &[u8]| Word::Status {
            app: 300,
            text: text.to_vec(),
        };
        for word in [
            Word::Ready,
            Word::Alive,
            Word::Failing,
            text(b""),
            text(b"\xffwarm\n"),
            text(&[b'x'; Word::MAX_TEXT]),
        ] {
            let bytes = word.to_bytes();
            assert!(bytes.len() <= Word::MAX);
            assert_eq!(Word::parse(&bytes), Some(word));
        }
        let cut = Word::parse(&text(&[b'x'; 1000]).to_bytes());
        assert_eq!(cut, Some(text(&[b'x'; Word::MAX_TEXT])));
    }

    #[test]
    fn nothing_else_means_anything() {
        let long = [&[4, 0, 0][..], &[b'x'; Word::MAX_TEXT + 1]].concat();
        for bytes in [
            &b""[..],
            b"\0",
            b"\x01\x01",
            b"\x04",
            b"\x04\0",
            b"\x05",
            &long,
        ] {
            assert_eq!(Word::parse(bytes), None, "{bytes:?}");
        }
    }
}

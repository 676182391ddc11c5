//! One message of an app that tells how it goes (`sd_notify(3)`): a few assignments are understood, everything else means nothing.

/// The longest message that is read: what systemd itself takes.
pub(crate) const MAX: usize = 4096;

/// What is understood of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `READY=1`.
    pub(crate) ready: bool,
    /// `WATCHDOG=1`.
    pub(crate) alive: bool,
    /// `WATCHDOG=trigger`.
    pub(crate) failing: bool,
    /// `STATUS=…`, the last one.
    pub(crate) status: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Parses foreign bytes.
    pub(crate) fn parse(bytes: &'a [u8]) -> Self {
        let mut message = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            match line {
                b"READY=1" => message.ready = true,
                b"WATCHDOG=1" => message.alive = true,
                b"WATCHDOG=trigger" => message.failing = true,
                [b'S', b'T', b'A', b'T', b'U', b'S', b'=', text @ ..] => {
                    message.status = Some(text)
                }
                _ => {}
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_understood_means_something() {
        let nothing = Message::default();
        let ready = Message {
            ready: true,
            ..nothing
        };
        for (bytes, expected) in [
            (&b""[..], nothing),
            (b"\n\n\0", nothing),
            (b"READY=0\nREADY=11\n READY=1\nready=1\nREADY=1\0", nothing),
            (
                b"MAINPID=1\nFDSTORE=1\nSTOPPING=1\nERRNO=2\nEXTEND_TIMEOUT_USEC=1",
                nothing,
            ),
            (b"READY=1", ready),
            (b"MAINPID=1\nREADY=1\n", ready),
            (
                b"WATCHDOG=1\n",
                Message {
                    alive: true,
                    ..nothing
                },
            ),
            (
                b"WATCHDOG=trigger",
                Message {
                    failing: true,
                    ..nothing
                },
            ),
            (b"WATCHDOG_USEC=1\nWATCHDOG=0", nothing),
            (
                b"STATUS=a\nSTATUS=\xff=b\r",
                Message {
                    status: Some(b"\xff=b\r"),
                    ..nothing
                },
            ),
            (
                b"STATUS=\nREADY=1",
                Message {
                    status: Some(b""),
                    ..ready
                },
            ),
        ] {
            assert_eq!(
                Message::parse(bytes),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}

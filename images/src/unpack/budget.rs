//! What a layer may still make, where several are unpacked side by side and have one limit together.
//!
//! Nobody hands out the whole limit: whoever unpacks asks for more when it has used up what it was given, before it makes
//! anything that it was not given.

use std::io;

use serde::{Deserialize, Serialize};

use super::UnpackError;

/// An amount of what is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Entries.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
}

/// What was given, and who gives more.
pub struct Budget<'a> {
    left: Amount,
    more: Box<dyn FnMut(Amount) -> io::Result<Amount> + 'a>,
}

impl<'a> Budget<'a> {
    /// Nothing yet; `more` gives at least what it is asked for, or there is no room for it.
    pub fn new(more: impl FnMut(Amount) -> io::Result<Amount> + 'a) -> Self {
        Self {
            left: Amount::default(),
            more: Box::new(more),
        }
    }

    /// As much as is asked for: for a layer that has its limits for itself.
    pub(crate) fn unbounded() -> Self {
        Self::new(Ok)
    }

    /// Uses up `need`.
    pub(super) fn take(&mut self, need: Amount) -> Result<(), UnpackError> {
        let lack = Amount {
            entries: need.entries.saturating_sub(self.left.entries),
            bytes: need.bytes.saturating_sub(self.left.bytes),
        };
        if lack != Amount::default() {
            let given = (self.more)(lack).map_err(UnpackError::Budget)?;
            self.left.entries = self.left.entries.saturating_add(given.entries);
            self.left.bytes = self.left.bytes.saturating_add(given.bytes);
            if self.left.entries < need.entries || self.left.bytes < need.bytes {
                return Err(UnpackError::NoRoom);
            }
        }
        self.left.entries = self.left.entries.saturating_sub(need.entries);
        self.left.bytes = self.left.bytes.saturating_sub(need.bytes);
        Ok(())
    }
}

//! Bounds in words.

use std::fmt;
use std::path::PathBuf;

/// A bound in force, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key of the file.
    pub key: &'static str,
    /// What it says.
    pub value: String,
    /// The file.
    pub file: PathBuf,
}

pub(super) trait Show {
    fn show(&self) -> String;
}

impl Show for bool {
    fn show(&self) -> String {
        match self {
            true => "required",
            false => "not required",
        }
        .to_owned()
    }
}

impl<T: fmt::Debug> Show for Vec<T> {
    fn show(&self) -> String {
        match self.is_empty() {
            true => "none".to_owned(),
            false => self
                .iter()
                .map(|one| format!("{one:?}"))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

//! Bounds in words.

use std::path::PathBuf;

use super::HostVolumes;
use crate::{Capability, InsecureOption};

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

impl<T: Word> Show for Vec<T> {
    fn show(&self) -> String {
        match self.is_empty() {
            true => "none".to_owned(),
            false => self.iter().map(Word::word).collect::<Vec<_>>().join(", "),
        }
    }
}

/// One of a list. What somebody chose is quoted: a network may be called `none`.
pub(super) trait Word {
    fn word(&self) -> String;
}

impl Word for String {
    fn word(&self) -> String {
        format!("{self:?}")
    }
}

impl Word for PathBuf {
    fn word(&self) -> String {
        format!("{self:?}")
    }
}

impl Word for Capability {
    fn word(&self) -> String {
        self.name().to_owned()
    }
}

impl Word for InsecureOption {
    fn word(&self) -> String {
        // Each is one word.
        format!("{self:?}").to_ascii_lowercase()
    }
}

impl Word for HostVolumes {
    fn word(&self) -> String {
        let rights = if self.read_only { " read-only" } else { "" };
        format!("{:?}{rights}", self.path)
    }
}

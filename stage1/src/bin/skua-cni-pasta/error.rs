//! What can go wrong, as CNI says it: a code, a sentence, and the cause.

use std::io;
use std::path::PathBuf;

use cni_plugin::reply::ErrorReply;
use semver::Version;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("environment variable {0} is missing or not valid")]
    Environment(&'static str),
    #[error("cannot read the configuration")]
    Read(#[source] io::Error),
    #[error("cannot parse the configuration")]
    Parse(#[source] serde_json::Error),
    #[error("this plugin does not speak CNI {0}")]
    Incompatible(Version),
    #[error("cannot open network namespace {0}")]
    Netns(String, #[source] io::Error),
    #[error("cannot open the user namespace that owns the network namespace")]
    Owner(#[source] io::Error),
    #[error("cannot use directory {0}")]
    Directory(PathBuf, #[source] io::Error),
    #[error("cannot start pasta; is it installed? (Debian: package passt)")]
    Start(#[source] io::Error),
    #[error("pasta failed: {0}")]
    Failed(String),
    #[error("cannot list processes")]
    Processes(#[source] io::Error),
    #[error("cannot remove pid file {0}")]
    PidFile(PathBuf, #[source] io::Error),
    #[error("pasta does not run")]
    Gone,
    #[error("cannot stop pasta")]
    Stop(#[source] io::Error),
}

impl Error {
    /// The answer on standard output.
    pub(crate) fn reply(self, cni_version: Version) -> ErrorReply<'static> {
        let (code, msg) = match self {
            Self::Incompatible(_) => (1, "incompatible CNI version"),
            Self::Environment(_) => (4, "invalid environment"),
            Self::Read(_) => (5, "input/output failure"),
            Self::Parse(_) => (6, "invalid configuration"),
            _ => (100, "no network by pasta"),
        };
        let mut details = self.to_string();
        if let Some(cause) = std::error::Error::source(&self) {
            details.push_str(&format!(": {cause}"));
        }
        ErrorReply {
            cni_version,
            code,
            msg,
            details,
        }
    }
}

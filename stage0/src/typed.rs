//! The values of flags: each is parsed once, when it is typed, into what it means.

mod limits;
mod network;
mod process;
mod sandbox;
mod volume;

use std::str::FromStr;

use pod::Capability;
use pod::amount::{Refused, bytes, number};

pub(crate) use limits::LimitFlags;
pub(crate) use network::{NetworkArg, PublishArg};
pub(crate) use process::{CredentialArg, LimitArg, StopSignal, directory, group, user};
pub(crate) use sandbox::{DeviceArg, SizeArg, SysctlArg, UmaskArg};
pub(crate) use volume::{BindArg, MountArg, VolumeArg, VolumeKind};

/// A name that `sethostname(2)` takes and that other programs can digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName(pub(crate) String);

impl FromStr for HostName {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if text.len() <= 64 && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a host name has at most 64 letters, digits, '-' and '.'".to_owned())
        }
    }
}

/// `--environment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentArg {
    /// Name of the variable.
    pub(crate) name: String,
    /// Its value; absent: the caller's.
    pub(crate) value: Option<String>,
}

impl FromStr for EnvironmentArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("a variable has a name".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// A capability by name; `None` for the word `none`, an empty list.
pub(crate) fn capability(text: &str) -> Result<Option<Capability>, Refused> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let found = Capability::parse(text);
    found
        .map(Some)
        .ok_or_else(|| format!("there is no capability '{text}'"))
}

/// A label of a security module: one word, for the kernel takes the file it is written to by lines.
pub(crate) fn label(text: &str) -> Result<String, Refused> {
    if !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a label has 1 to 255 printable characters and no blanks".to_owned())
    }
}

/// `--seccomp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeccompArg {
    /// The built-in allow-list.
    Default,
    /// No filter.
    Unconfined,
    /// A profile at this path, as typed.
    Profile(String),
}

impl FromStr for SeccompArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        Ok(match text {
            "" => return Err("a profile has a path".to_owned()),
            "default" => Self::Default,
            "unconfined" => Self::Unconfined,
            path => Self::Profile(path.to_owned()),
        })
    }
}

/// A span of time in whole seconds: a number, or numbers with s, m, h or d such as `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u32);

impl FromStr for Seconds {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let form = || format!("'{text}' is not a time such as 90, 90s, 30m, 12h or 1h30m");
        if let Some(seconds) = number(text) {
            return u32::try_from(seconds).map(Self).map_err(|_| form());
        }
        let (mut total, mut rest) = (0u64, text);
        while let Some(at) = rest.find(|c: char| !c.is_ascii_digit()) {
            let factor = match rest.as_bytes()[at] {
                b's' => 1,
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86400,
                _ => return Err(form()),
            };
            let part = number(&rest[..at]).and_then(|n| n.checked_mul(factor));
            total = part
                .and_then(|part| total.checked_add(part))
                .ok_or_else(form)?;
            rest = &rest[at + 1..];
        }
        match u32::try_from(total) {
            Ok(total) if rest.is_empty() && !text.is_empty() => Ok(Self(total)),
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests;

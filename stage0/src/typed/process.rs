//! Who an app is and where it begins; `--stop-signal`, `--rlimit` and `--credential`.

use std::str::FromStr;

use nix::sys::signal::Signal;
use pod::{Credential, CredentialName, Rlimit};

use super::{Refused, number};

/// A user as typed. A variable of a shell that is not set must not make the app root.
pub(crate) fn user(text: &str) -> Result<String, Refused> {
    match text.split(':').next() {
        None | Some("") => Err("no user is named; without the flag it is the image's".to_owned()),
        Some(_) => Ok(text.to_owned()),
    }
}

/// A group as typed.
pub(crate) fn group(text: &str) -> Result<String, Refused> {
    named(text, "no group is named")
}

/// A working directory as typed.
pub(crate) fn directory(text: &str) -> Result<String, Refused> {
    named(
        text,
        "no directory is named; without the flag it is the image's",
    )
}

fn named(text: &str, refused: &str) -> Result<String, Refused> {
    match text {
        "" => Err(refused.to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// `--credential`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialArg(pub(crate) Credential);

impl FromStr for CredentialArg {
    type Err = pod::Error;
    fn from_str(text: &str) -> Result<Self, pod::Error> {
        let (source, name) = text.split_once(':').unwrap_or((text, text));
        Ok(Self(Credential {
            source: CredentialName::parse(source)?,
            name: CredentialName::parse(name)?,
        }))
    }
}

/// The number of a signal that is given by name (`SIGTERM`, `term`, `SIGRTMIN+3`) or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopSignal(pub(crate) i32);

impl FromStr for StopSignal {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        /// First real-time signal that the C library leaves to programs.
        const RTMIN: i32 = 34;
        /// Last signal of Linux.
        const LAST: i32 = 64;
        let form = || format!("'{text}' is not a signal, such as SIGTERM, SIGRTMIN+3 or 15");
        if let Some(number) = number(text) {
            let signal = i32::try_from(number)
                .ok()
                .filter(|n| (1..=LAST).contains(n));
            return signal.map(Self).ok_or_else(form);
        }
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |text: &str, sign: char| match text.strip_prefix(sign) {
            None if text.is_empty() => Some(0),
            None => None,
            Some(digits) => number(digits)
                .and_then(|n| i32::try_from(n).ok())
                .filter(|n| *n <= LAST),
        };
        let real_time = if let Some(rest) = bare.strip_prefix("RTMIN") {
            offset(rest, '+').map(|n| RTMIN + n)
        } else if let Some(rest) = bare.strip_prefix("RTMAX") {
            offset(rest, '-').map(|n| LAST - n)
        } else {
            Signal::from_str(&format!("SIG{bare}"))
                .ok()
                .map(|signal| signal as i32)
        };
        let known = real_time.filter(|n| (1..=LAST).contains(n)).map(Self);
        known.ok_or_else(form)
    }
}

/// The resource limits of Linux, by the names of `setrlimit(2)` without `RLIMIT_`.
const RESOURCES: [&str; 16] = [
    "AS",
    "CORE",
    "CPU",
    "DATA",
    "FSIZE",
    "LOCKS",
    "MEMLOCK",
    "MSGQUEUE",
    "NICE",
    "NOFILE",
    "NPROC",
    "RSS",
    "RTPRIO",
    "RTTIME",
    "SIGPENDING",
    "STACK",
];

/// `--rlimit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitArg(pub(crate) Rlimit);

impl FromStr for LimitArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let (name, values) = text.split_once('=').ok_or("the form is NAME=SOFT[:HARD]")?;
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
        if !RESOURCES.contains(&bare) {
            return Err(format!("there is no resource limit '{name}'"));
        }
        let value = |text: &str| match text {
            "unlimited" | "-1" => Ok(None),
            digits => number(digits)
                .map(Some)
                .ok_or_else(|| format!("'{digits}' is neither a number nor 'unlimited'")),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (value(soft)?, value(hard)?);
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err("the soft limit is above the hard limit".to_owned());
        }
        Ok(Self(Rlimit {
            resource: format!("RLIMIT_{bare}"),
            soft,
            hard,
        }))
    }
}

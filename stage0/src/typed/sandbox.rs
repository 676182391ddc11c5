//! `--umask`, `--nice`, `--oom-score-adj`, `--shm-size`, `--sysctl` and `--device`.

use std::str::FromStr;

use pod::{Sysctl, SysctlName};

use super::{Refused, bytes};

/// `--umask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UmaskArg(pub(crate) u32);

impl FromStr for UmaskArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let octal = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(mask) if octal && mask <= 0o777 => Ok(Self(mask)),
            _ => Err(format!("'{text}' is not an octal number up to 0777")),
        }
    }
}

/// `--shm-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeArg(pub(crate) u64);

impl FromStr for SizeArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        bytes(text).map(Self)
    }
}

/// `--sysctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SysctlArg(pub(crate) Sysctl);

impl FromStr for SysctlArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let (name, value) = text.split_once('=').ok_or("the form is NAME=VALUE")?;
        let name = SysctlName::parse(name).map_err(|e| e.to_string())?;
        let printable = |c: char| c == ' ' || c == '\t' || c.is_ascii_graphic();
        if value.trim().is_empty() || value.len() > 1024 || !value.chars().all(printable) {
            return Err(format!("the value of {name} is empty or not printable"));
        }
        Ok(Self(Sysctl {
            name,
            value: value.to_owned(),
        }))
    }
}

/// `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceArg {
    /// Path on the host, as typed.
    pub(crate) host: String,
    /// Path in the app, as typed.
    pub(crate) path: String,
    /// The app may read.
    pub(crate) read: bool,
    /// The app may write.
    pub(crate) write: bool,
}

impl FromStr for DeviceArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let parts: Vec<&str> = text.split(':').collect();
        let (host, path, access) = match parts.as_slice() {
            [host] => (*host, *host, "rw"),
            [host, path] if path.starts_with('/') => (*host, *path, "rw"),
            [host, access] => (*host, *host, *access),
            [host, path, access] => (*host, *path, *access),
            _ => return Err("the form is PATH[:PATH IN THE APP][:r|w|rw]".to_owned()),
        };
        if !host.starts_with('/') {
            return Err(format!("'{host}' is not an absolute path"));
        }
        let below = path.strip_prefix("/dev/").unwrap_or_default();
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("'{path}' is not a plain path below /dev"));
        }
        let (read, write) = match access {
            "r" => (true, false),
            "w" => (false, true),
            "rw" | "wr" => (true, true),
            other if other.contains('m') => {
                return Err("nobody in a pod can make device nodes: 'm' cannot be given".to_owned());
            }
            other => return Err(format!("access '{other}' is not r, w or rw")),
        };
        Ok(Self {
            host: host.to_owned(),
            path: path.to_owned(),
            read,
            write,
        })
    }
}

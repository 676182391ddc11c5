//! The values of flags: each is parsed once, when it is typed, into what it means.

use std::str::FromStr;

use nix::sys::signal::Signal;
use pod::{Capability, NetworkName, PortMapping, Protocol, Rlimit, VolumeName, VolumeSource};

/// Why a value is refused; clap prints it after the flag's name.
type Refused = String;

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

/// `--net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkArg {
    /// A loopback interface only.
    None,
    /// The host's network.
    Host,
    /// Networks of `net.d`, with arguments for their plugins.
    Named(Vec<(NetworkName, Vec<(String, String)>)>),
}

impl FromStr for NetworkArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        match text {
            "none" => return Ok(Self::None),
            "host" => return Ok(Self::Host),
            _ => {}
        }
        let mut networks: Vec<(NetworkName, _)> = Vec::new();
        for one in text.split(',') {
            let (name, arguments) = one.split_once(':').unwrap_or((one, ""));
            if name == "none" || name == "host" {
                return Err(format!("'{name}' cannot be combined with other networks"));
            }
            let name = NetworkName::parse(name).map_err(|e| e.to_string())?;
            if networks.iter().any(|(other, _)| *other == name) {
                return Err(format!("network '{name}' is named twice"));
            }
            networks.push((name, network_arguments(arguments)?));
        }
        Ok(Self::Named(networks))
    }
}

/// `K=V;K=V` for `CNI_ARGS`, where ';' and '=' have no escape.
fn network_arguments(text: &str) -> Result<Vec<(String, String)>, Refused> {
    let mut arguments: Vec<(String, String)> = Vec::new();
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let form = || format!("'{pair}' is not KEY=VALUE of letters, digits and '_.:/@-'");
        let (key, value) = pair.split_once('=').ok_or_else(form)?;
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.:/@-".contains(&b))
        };
        if !plain(key) || !plain(value) {
            return Err(form());
        }
        arguments.push((key.to_owned(), value.to_owned()));
    }
    Ok(arguments)
}

/// `--publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishArg(pub(crate) PortMapping);

impl FromStr for PublishArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("'{other}' is neither tcp nor udp")),
        };
        let form = || "the form is [IP:]HOST:POD[/tcp|udp], an IPv6 address in brackets".to_owned();
        let (rest, pod_port) = ports.rsplit_once(':').ok_or_else(form)?;
        let (host_ip, host_port) = match rest.rsplit_once(':') {
            None => (None, rest),
            Some((ip, port)) => {
                let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
                let ip = match bare {
                    Some(v6) => v6.parse().map(std::net::IpAddr::V6).ok(),
                    None => ip.parse().map(std::net::IpAddr::V4).ok(),
                };
                (Some(ip.ok_or_else(form)?), port)
            }
        };
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            _ => Err(format!("'{text}' is not a port from 1 to 65535")),
        };
        Ok(Self(PortMapping {
            host_ip,
            host_port: port(host_port)?,
            pod_port: port(pod_port)?,
            protocol,
        }))
    }
}

/// `--volume` of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeArg {
    /// Its name.
    pub(crate) name: VolumeName,
    /// What it is; the path of a host volume is as typed.
    pub(crate) source: VolumeSource,
}

impl FromStr for VolumeArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let (name, rest) = text.split_once(',').unwrap_or((text, ""));
        let name = VolumeName::parse(name).map_err(|e| e.to_string())?;
        let mut keys = Keys::parse(rest)?;
        let kind = keys
            .take("kind")
            .ok_or("kind=host, kind=empty or kind=tmpfs is missing")?;
        let source = match kind.as_str() {
            "host" => VolumeSource::Host(pod::HostVolume {
                path: keys.take("source").ok_or("source=PATH is missing")?,
                read_only: keys.flag("readonly", false)?,
                recursive: keys.flag("recursive", true)?,
            }),
            "empty" => VolumeSource::Empty { mode: keys.mode()? },
            "tmpfs" => VolumeSource::Tmpfs {
                mode: keys.mode()?,
                size: keys.take("size").map(|size| bytes(&size)).transpose()?,
            },
            other => return Err(format!("kind '{other}' is not host, empty or tmpfs")),
        };
        keys.end(&kind)?;
        Ok(Self { name, source })
    }
}

/// `--mount` of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountArg {
    /// Which volume.
    pub(crate) volume: VolumeName,
    /// Where, as typed.
    pub(crate) target: String,
    /// Read-only for this app.
    pub(crate) read_only: bool,
}

impl FromStr for MountArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut keys = Keys::parse(text)?;
        let volume = keys.take("volume").ok_or("volume=NAME is missing")?;
        let mount = Self {
            volume: VolumeName::parse(&volume).map_err(|e| e.to_string())?,
            target: keys.take("target").ok_or("target=PATH is missing")?,
            read_only: keys.flag("readonly", false)?,
        };
        keys.end("mount")?;
        Ok(mount)
    }
}

/// `--volume` of an app: a volume of the host that only this app mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindArg {
    /// Path on the host, as typed.
    pub(crate) source: String,
    /// Where, as typed.
    pub(crate) target: String,
    /// Read-only.
    pub(crate) read_only: bool,
}

impl FromStr for BindArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, read_only) = match parts.as_slice() {
            [source, target] | [source, target, "rw"] => (source, target, false),
            [source, target, "ro"] => (source, target, true),
            _ => return Err("the form is SOURCE:TARGET[:ro]".to_owned()),
        };
        if !source.starts_with(['/', '.']) {
            return Err(format!(
                "'{source}' does not begin with '/' or '.'; a volume of the pod is mounted with --mount volume=NAME,target=PATH"
            ));
        }
        Ok(Self {
            source: (*source).to_owned(),
            target: (*target).to_owned(),
            read_only,
        })
    }
}

/// `KEY=VALUE,KEY=VALUE`; a key alone is `KEY=true`. Values have no commas.
struct Keys(Vec<(String, String)>);

impl Keys {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut keys: Vec<(String, String)> = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            if keys.iter().any(|(other, _)| other == key) {
                return Err(format!("'{key}' is given twice"));
            }
            keys.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(keys))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(at).1)
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool, Refused> {
        match self.take(key).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!("{key}='{other}' is neither true nor false")),
        }
    }

    fn mode(&mut self) -> Result<u32, Refused> {
        let Some(text) = self.take("mode") else {
            return Ok(0o755);
        };
        let octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if octal && mode <= 0o1777 => Ok(mode),
            _ => Err(format!("mode='{text}' is not an octal number up to 1777")),
        }
    }

    fn end(self, of: &str) -> Result<(), Refused> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("'{key}' is not a key of {of}")),
        }
    }
}

/// A number of bytes, with K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Result<u64, Refused> {
    let form = || format!("'{text}' is not a number of bytes, such as 65536 or 64M");
    let (digits, unit) = match text.char_indices().last() {
        Some((at, unit)) if !unit.is_ascii_digit() => (&text[..at], unit.to_ascii_uppercase()),
        _ => (text, 'B'),
    };
    let factor: u64 = match unit {
        'B' => 1,
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1 << 40,
        _ => return Err(form()),
    };
    let number = number(digits).ok_or_else(form)?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(form)
}

/// Decimal digits only: no sign, no blanks.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
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

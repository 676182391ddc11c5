//! A seccomp profile in the JSON format of containers (`seccomp.json`) and OCI (`linux.seccomp`), for one machine and app.
//!
//! Pure. Also compiled into the build script. Whatever cannot be enforced as written is an error, except that calls which
//! do not exist on this machine may be named by rules that would not have made anything stricter.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::compiler::{self, Action, Comparison, Policy, Rule, Test};
use super::syscalls;

/// For whom a profile is compiled.
pub(crate) struct Facts<'a> {
    /// Names of the capabilities that the app may hold.
    pub(crate) capabilities: &'a [&'a str],
    /// The kernel that runs.
    pub(crate) kernel: (u32, u32),
}

/// What is wrong with a profile.
#[derive(Debug)]
pub(crate) enum Error {
    /// It is not the JSON that the format says.
    Json(serde_json::Error),
    /// It has no rules for this machine.
    Architecture,
    /// It asks for something that is not supported or makes no sense.
    Refused(&'static str, String),
    /// It has too many rules.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => f.write_str("it is not a seccomp profile"),
            Self::Architecture => f.write_str("it has no rules for this machine's architecture"),
            Self::Refused(what, value) => write!(f, "{what} '{}'", value.escape_debug()),
            Self::TooLong => write!(
                f,
                "its program would have more than {} instructions",
                compiler::MAX_INSTRUCTIONS
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    default_errno: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    flags: Vec<String>,
    listener_path: Option<String>,
    #[serde(default)]
    syscalls: Vec<Syscalls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    #[allow(
        dead_code,
        reason = "other architectures are refused whatever a profile says"
    )]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Syscalls {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u16>,
    errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    #[allow(dead_code, reason = "for people")]
    comment: Option<String>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The names of this machine's architecture: in `architectures` and in `arches`.
const NATIVE: (&str, &str) = if cfg!(target_arch = "x86_64") {
    ("SCMP_ARCH_X86_64", "amd64")
} else {
    ("SCMP_ARCH_AARCH64", "arm64")
};

/// Parses a profile.
pub(crate) fn parse(json: &[u8], facts: &Facts<'_>) -> Result<Policy, Error> {
    let profile: Profile = serde_json::from_slice(json).map_err(Error::Json)?;
    supported(&profile)?;
    let default = action(
        &profile.default_action,
        profile.default_errno_ret,
        profile.default_errno.as_deref(),
    )?;
    let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    for entry in &profile.syscalls {
        if !applies(entry, facts)? {
            continue;
        }
        let rule = rule(entry)?;
        for name in entry.names.iter().chain(&entry.name) {
            match syscalls::number(name) {
                Some(number) => rules.entry(number).or_default().push(rule.clone()),
                None if rule.action.leniency() >= default.leniency() => {}
                None => {
                    return Err(Error::Refused(
                        "it denies unknown system call",
                        name.clone(),
                    ));
                }
            }
        }
    }
    for rules in rules.values_mut() {
        compiler::order(rules);
    }
    Ok(Policy {
        default,
        highest: syscalls::HIGHEST,
        rules,
    })
}

fn supported(profile: &Profile) -> Result<(), Error> {
    if let Some(flag) = profile.flags.first() {
        return Err(Error::Refused("unsupported flag", flag.clone()));
    }
    if let Some(path) = &profile.listener_path {
        return Err(Error::Refused("unsupported listener", path.clone()));
    }
    let mapped = profile.arch_map.iter().map(|entry| &entry.architecture);
    let mut named = profile.architectures.iter().chain(mapped).peekable();
    if named.peek().is_none() || named.any(|name| name == NATIVE.0) {
        Ok(())
    } else {
        Err(Error::Architecture)
    }
}

fn applies(entry: &Syscalls, facts: &Facts<'_>) -> Result<bool, Error> {
    let holds = |name: &String| facts.capabilities.contains(&name.as_str());
    let native = |name: &String| name == NATIVE.1;
    if let Some(includes) = &entry.includes {
        let architecture = includes.arches.is_empty() || includes.arches.iter().any(native);
        if !architecture || !includes.caps.iter().all(holds) || !recent(includes, facts, true)? {
            return Ok(false);
        }
    }
    let Some(excludes) = &entry.excludes else {
        return Ok(true);
    };
    let excluded = excludes.caps.iter().any(holds)
        || excludes.arches.iter().any(native)
        || recent(excludes, facts, false)?;
    Ok(!excluded)
}

/// Is the kernel at least the one of `minKernel`? `absent` when none is named.
fn recent(filter: &Filter, facts: &Facts<'_>, absent: bool) -> Result<bool, Error> {
    let Some(text) = &filter.min_kernel else {
        return Ok(absent);
    };
    let version = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let wanted: (u32, u32) =
        version.ok_or_else(|| Error::Refused("it has an unreadable minKernel", text.clone()))?;
    Ok(facts.kernel >= wanted)
}

fn rule(entry: &Syscalls) -> Result<Rule, Error> {
    let mut comparisons = Vec::new();
    for argument in entry.args.iter().flatten() {
        if argument.index > 5 {
            return Err(Error::Refused(
                "there is no argument",
                argument.index.to_string(),
            ));
        }
        if comparisons
            .iter()
            .any(|c: &Comparison| c.argument == argument.index)
        {
            let index = argument.index.to_string();
            return Err(Error::Refused("one rule compares twice argument", index));
        }
        comparisons.push(Comparison {
            argument: argument.index,
            test: test(argument)?,
        });
    }
    Ok(Rule {
        comparisons,
        action: action(&entry.action, entry.errno_ret, entry.errno.as_deref())?,
    })
}

fn test(argument: &Argument) -> Result<Test, Error> {
    let value = argument.value;
    Ok(match argument.op.as_str() {
        "SCMP_CMP_EQ" => Test::Equal(value),
        "SCMP_CMP_NE" => Test::NotEqual(value),
        "SCMP_CMP_LT" => Test::Less(value),
        "SCMP_CMP_LE" => Test::LessOrEqual(value),
        "SCMP_CMP_GT" => Test::Greater(value),
        "SCMP_CMP_GE" => Test::GreaterOrEqual(value),
        "SCMP_CMP_MASKED_EQ" => Test::Masked {
            mask: value,
            value: argument.value_two,
        },
        other => return Err(Error::Refused("unknown comparison", other.to_owned())),
    })
}

fn action(name: &str, number: Option<u16>, errno: Option<&str>) -> Result<Action, Error> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::ALLOW,
        "SCMP_ACT_LOG" => Action::LOG,
        "SCMP_ACT_TRAP" => Action::TRAP,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => Action::KILL_PROCESS,
        "SCMP_ACT_ERRNO" => Action::errno(errno_number(number, errno)?),
        other => return Err(Error::Refused("unsupported action", other.to_owned())),
    })
}

/// The errno of an action, `EPERM` unless told otherwise; by number, by name, or both alike.
fn errno_number(number: Option<u16>, name: Option<&str>) -> Result<u16, Error> {
    const NAMES: &[(&str, u16)] = &[
        ("EPERM", 1),
        ("ENOENT", 2),
        ("EACCES", 13),
        ("EINVAL", 22),
        ("ENOSYS", 38),
        ("EOPNOTSUPP", 95),
        ("EAFNOSUPPORT", 97),
    ];
    let unknown = |name: &str| Error::Refused("unknown errno", name.to_owned());
    let named = match name.filter(|name| !name.is_empty()) {
        Some(name) => Some(
            NAMES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|&(_, number)| number)
                .ok_or_else(|| unknown(name))?,
        ),
        None => None,
    };
    match (number, named) {
        (Some(number), _) if number == 0 || number > 4095 => Err(unknown(&number.to_string())),
        (Some(number), Some(named)) if number != named => Err(unknown(&number.to_string())),
        (Some(number), _) | (None, Some(number)) => Ok(number),
        (None, None) => Ok(1),
    }
}

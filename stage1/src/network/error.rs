//! What can go wrong between a pod and its networks. Text of plugins is escaped and cut before it gets here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A step that failed; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("cannot read conflist {0}")]
    ReadConflist(PathBuf, #[source] io::Error),
    #[error("cannot parse conflist {0}")]
    ParseConflist(PathBuf, #[source] serde_json::Error),
    #[error("conflist of network '{0}' is not usable: {1}")]
    Conflist(String, String),
    #[error("there is no conflist for network '{0}'")]
    NoConflist(String),
    #[error("network '{0}' is asked for twice")]
    Twice(String),
    #[error("network argument '{0}' is not KEY=VALUE of the characters that CNI allows")]
    Argument(String),
    #[error("network argument {0} is not valid: '{1}'")]
    ArgumentValue(String, String),
    #[error("network '{0}' has no plugin with the capability '{1}' that argument {2} needs")]
    NoCapability(String, &'static str, String),
    #[error(
        "cannot publish a port: no network of the pod has a plugin with the capability 'portMappings'"
    )]
    NoPorts,
    #[error("cannot publish {0}/{1} of the host")]
    Port(SocketAddr, &'static str, #[source] io::Error),
    #[error("cannot publish {0} of the host: network '{1}' gave the pod no {2} address")]
    NoAddress(SocketAddr, String, &'static str),
    #[error("plugin directory '{0}' is not an absolute path without ':'")]
    PluginPath(String),
    #[error("cannot find plugin '{plugin}' of network '{network}' in {path}")]
    NoPlugin {
        network: String,
        plugin: String,
        path: String,
    },
    #[error("refusing to execute a plugin: others than root and the caller could have written {0}")]
    OfOthers(PathBuf),
    #[error("the plugins of network '{0}' know none of its CNI versions ({1})")]
    NoVersion(String, String),
    #[error("cannot start plugin {0}")]
    Spawn(PathBuf, #[source] io::Error),
    #[error("cannot watch plugin {0}")]
    Watch(PathBuf, #[source] io::Error),
    #[error("plugin {0} did not answer {1} in {2} seconds and was killed")]
    TimedOut(PathBuf, &'static str, u64),
    #[error("plugin {0} was killed in {1}: the pod is to stop")]
    Interrupted(PathBuf, &'static str),
    #[error("plugin {0} was killed by signal {2} in {1}, not by skua")]
    Died(PathBuf, &'static str, i32),
    #[error("plugin {0} answered {1} with more than {2} bytes and was killed")]
    TooMuch(PathBuf, &'static str, usize),
    #[error("plugin {plugin} refused {command}: {message}")]
    Refused {
        plugin: PathBuf,
        command: &'static str,
        message: String,
    },
    #[error("cannot parse the answer of plugin {0} to {1}")]
    ParseAnswer(PathBuf, &'static str, #[source] serde_json::Error),
    #[error("the answer of plugin {0} to {1} is not acceptable: {2}")]
    Answer(PathBuf, &'static str, String),
    #[error("cannot make the directory {0}")]
    MakeDirectory(PathBuf, #[source] io::Error),
    #[error("cannot list {0}")]
    List(PathBuf, #[source] io::Error),
    #[error("cannot remove {0}")]
    Remove(PathBuf, #[source] io::Error),
    #[error("cannot keep the record of network '{0}'")]
    Record(String, #[source] pod::Error),
    #[error("cannot load the record of a network")]
    LoadRecord(#[source] pod::Error),
    #[error("network '{0}' was not left: the record of it is lost, and it may keep an address")]
    LostRecord(String, #[source] pod::Error),
    #[error("cannot make a network namespace in place of the one that is gone: {0}")]
    StandIn(&'static str, #[source] io::Error),
    #[error("cannot join network '{network}'")]
    Add {
        network: String,
        #[source]
        cause: Box<NetworkError>,
        /// What failed while that was undone.
        cleanup: Vec<NetworkError>,
    },
    #[error("cannot leave network '{0}'")]
    Del(String, #[source] Box<NetworkError>),
}

/// The way out when a network cannot be left.
const ABANDON: &str = "`skua gc` tries again; `skua rm --abandon-networks` removes the pod without, and what the network keeps for it, such as an address, stays taken";

impl NetworkError {
    /// A known remedy.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPlugin { .. } => Some(
                "install the CNI plugins (Debian: package containernetworking-plugins) or name their directory in CNI_PATH",
            ),
            Self::OfOthers(_) => {
                Some("look what is in it, then 'chmod go-w' it and 'chown' it to root or yourself")
            }
            Self::Refused { message, .. } => refusal_hint(message),
            Self::NoPorts => Some(
                "use --net=default, or add a plugin like portmap, with that capability, to the conflist",
            ),
            Self::NoCapability(_, "dns", _) => Some(
                "a file of name servers can be mounted: --volume ./resolv.conf:/etc/resolv.conf:ro, after each image",
            ),
            Self::NoCapability(..) => Some("add a plugin with that capability to the conflist"),
            Self::NoAddress(..) => Some(
                "publish an address of the other kind, or put a range of this kind into the conflist: '[[{\"subnet\": …}], [{\"subnet\": …}]]' in 'ranges' of host-local",
            ),
            Self::Port(.., cause) => match cause.kind() {
                io::ErrorKind::AddrInUse => Some(
                    "a server of the host has it ('ss --listening'), or another pod ('skua list')",
                ),
                io::ErrorKind::AddrNotAvailable => {
                    Some("no interface of the host has that address")
                }
                _ => None,
            },
            Self::Add { cause, .. } => cause.hint(),
            Self::Del(_, cause) if matches!(**cause, Self::NoPlugin { .. }) => Some(
                "put the plugin back there, or a link to it, and `skua gc` leaves the network; `skua rm --abandon-networks` removes the pod without, and what the network keeps for it, such as an address, stays taken",
            ),
            Self::Del(_, cause) => cause.hint().or(Some(ABANDON)),
            Self::LoadRecord(_) => Some(ABANDON),
            _ => None,
        }
    }

    /// A plugin could not remove what is not there: go-iptables knows only the older of iptables' two ways to say so.
    pub(super) fn says_it_is_gone(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("iptables") && message.contains("does not exist"))
    }

    /// What failed besides: clean-up errors that came after this one.
    pub(crate) fn further(&self) -> &[Self] {
        match self {
            Self::Add { cleanup, .. } => cleanup,
            _ => &[],
        }
    }
}

/// What the reference plugins say when a program or a right is missing.
fn refusal_hint(message: &str) -> Option<&'static str> {
    let says = |text: &str| message.contains(text);
    if says("executable file not found") && says("nft") {
        Some("install nft (Debian: package nftables)")
    } else if says("executable file not found") || says("failed to locate iptables") {
        Some("install iptables (Debian: package iptables)")
    } else if says("pasta failed") && says("tun socket") {
        Some("the user must be able to open /dev/net/tun: chmod 0666 /dev/net/tun, as udev does")
    } else if says("pasta failed") && says("Failed to bind") {
        Some(
            "somebody has this port of the host, or the user may not have it: sysctl net.ipv4.ip_unprivileged_port_start",
        )
    } else if says("operation not permitted") {
        Some(
            "the plugins of a host network need root; an ordinary user has --net=none, host or pasta",
        )
    } else {
        None
    }
}

/// Text of a stranger for a message of ours: one line, escaped, at most 600 characters.
pub(super) fn quote(foreign: &str) -> String {
    let mut quoted: String = foreign
        .trim()
        .chars()
        .take(600)
        .flat_map(char::escape_debug)
        .collect();
    if foreign.trim().chars().count() > 600 {
        quoted.push('…');
    }
    quoted.replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_is_cut() {
        assert_eq!(quote(" a\n\"b\"\u{1b}[31m "), "a\\n\"b\"\\u{1b}[31m");
        assert!(quote(&"x".repeat(1000)).chars().count() <= 601);
    }
}

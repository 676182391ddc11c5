//! `--net` and `--publish`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use pod::{NetworkName, PortMapping, Protocol};

use super::Refused;

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

impl fmt::Display for NetworkArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = match self {
            Self::None => return f.write_str("none"),
            Self::Host => return f.write_str("host"),
            Self::Named(networks) => networks,
        };
        let one = |(name, arguments): &(NetworkName, Vec<(String, String)>)| {
            let pairs: Vec<String> = arguments.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let colon = if pairs.is_empty() { "" } else { ":" };
            format!("{name}{colon}{}", pairs.join(";"))
        };
        let all: Vec<String> = networks.iter().map(one).collect();
        f.write_str(&all.join(","))
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

impl fmt::Display for PublishArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortMapping {
            host_ip,
            host_port,
            pod_port,
            protocol,
        } = &self.0;
        match host_ip {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{host_port}:{pod_port}/{protocol}")
    }
}

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
                    Some(v6) => v6.parse().map(IpAddr::V6).ok(),
                    None => ip.parse().map(IpAddr::V4).ok(),
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

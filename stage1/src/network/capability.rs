//! What a pod asks of a network beyond joining it: published ports and `K=V` arguments, turned into values for the
//! capabilities that plugins declare, and for the rest into `CNI_ARGS`.

use std::net::IpAddr;
use std::str::FromStr;

use cni_plugin::config::{BandwidthLimits, PortMapping as CniPort, PortProtocol};
use cni_plugin::macaddr::MacAddr;
use ipnetwork::IpNetwork;
use pod::{PortMapping, Protocol};
use serde::Serialize;
use serde_json::{Map, Value};

use super::conflist::Conflist;
use super::error::{NetworkError, quote};

/// What is asked of one network.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    /// Values by capability; a plugin gets those that it declares.
    pub(super) capabilities: Map<String, Value>,
    /// `CNI_ARGS`.
    pub(super) arguments: String,
}

/// The `portMappings` capability.
pub(super) fn port_mappings(ports: &[PortMapping]) -> Value {
    ports.iter().map(port_mapping).collect()
}

/// One mapping. The crate's type has no `hostIP`, which the convention and the reference plugin have.
fn port_mapping(port: &PortMapping) -> Value {
    let mut mapping = value(CniPort {
        host_port: port.host_port,
        container_port: port.pod_port,
        protocol: Some(match port.protocol {
            Protocol::Tcp => PortProtocol::Tcp,
            Protocol::Udp => PortProtocol::Udp,
        }),
    });
    if let (Some(ip), Value::Object(mapping)) = (port.host_ip, &mut mapping) {
        mapping.insert("hostIP".to_owned(), ip.to_string().into());
    }
    mapping
}

/// Sorts the arguments of the command line into capabilities and `CNI_ARGS`.
pub(super) fn asked(list: &Conflist, pairs: &[(String, String)]) -> Result<Asked, NetworkError> {
    let mut asked = Asked::default();
    let mut rest = Vec::new();
    for (key, given) in pairs {
        check(key, given)?;
        let (capability, known) = match key.as_str() {
            "IP" => ("ips", one::<IpNetwork>(key, given).map(|ip| value([ip]))?),
            "MAC" => ("mac", one::<MacAddr>(key, given).map(value)?),
            "DNS" | "DNS_SEARCH" => ("dns", dns(pairs)?),
            "INGRESS_RATE" | "INGRESS_BURST" | "EGRESS_RATE" | "EGRESS_BURST" => {
                ("bandwidth", bandwidth(pairs)?)
            }
            _ => {
                rest.push(format!("{key}={given}"));
                continue;
            }
        };
        if list.has_capability(capability) {
            asked.capabilities.insert(capability.to_owned(), known);
        } else if matches!(capability, "ips" | "mac") {
            // What host-local and bridge read from CNI_ARGS when they declare no capability.
            rest.push(format!("{key}={given}"));
        } else {
            let (network, key) = (list.name.clone(), key.clone());
            return Err(NetworkError::NoCapability(network, capability, key));
        }
    }
    if !rest.is_empty() {
        // Every plugin of the list sees every argument and would stumble over those of another.
        asked.arguments = format!("IgnoreUnknown=1;{}", rest.join(";"));
    }
    Ok(asked)
}

/// `CNI_ARGS` is `K=V;K=V`: neither part may hold what separates them, or what a shell of a plugin would read.
fn check(key: &str, given: &str) -> Result<(), NetworkError> {
    let key_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let byte = |byte: u8| key_byte(byte) || matches!(byte, b':' | b'/' | b',' | b'@' | b'+' | b'%');
    let good = (1..=64).contains(&key.len())
        && key.bytes().all(key_byte)
        && (1..=256).contains(&given.len())
        && given.bytes().all(byte);
    match good {
        true => Ok(()),
        false => Err(NetworkError::Argument(quote(&format!("{key}={given}")))),
    }
}

fn one<T: FromStr>(key: &str, given: &str) -> Result<T, NetworkError> {
    given
        .parse()
        .map_err(|_| NetworkError::ArgumentValue(key.to_owned(), quote(given)))
}

fn dns(pairs: &[(String, String)]) -> Result<Value, NetworkError> {
    let list = |key| {
        find(pairs, key)
            .into_iter()
            .flat_map(|given| given.split(','))
    };
    let nameservers = list("DNS")
        .map(|given| one::<IpAddr>("DNS", given))
        .collect::<Result<Vec<_>, _>>()?;
    // The names are those of CNI's CONVENTIONS.md, not those of a result.
    let mut capability = Map::new();
    capability.insert("servers".to_owned(), value(nameservers));
    capability.insert("searches".to_owned(), list("DNS_SEARCH").collect());
    Ok(Value::Object(capability))
}

fn bandwidth(pairs: &[(String, String)]) -> Result<Value, NetworkError> {
    let bits = |key| {
        find(pairs, key)
            .map(|given| one::<usize>(key, given))
            .transpose()
    };
    Ok(value(BandwidthLimits {
        ingress_rate: bits("INGRESS_RATE")?,
        ingress_burst: bits("INGRESS_BURST")?,
        egress_rate: bits("EGRESS_RATE")?,
        egress_burst: bits("EGRESS_BURST")?,
    }))
}

fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(k, _)| k == key)
        .map(|(_, given)| given.as_str())
}

/// These types have text keys only, so they always have a JSON form.
fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(capabilities: Value) -> Conflist {
        Conflist::parse(json!({"cniVersion": "1.0.0", "name": "n", "plugins": [
            {"type": "a"}, {"type": "b", "capabilities": capabilities}]}))
        .unwrap()
    }

    fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_published_port_keeps_its_host_address() {
        let port = |host_ip: Option<&str>, protocol| PortMapping {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 8080,
            pod_port: 80,
            protocol,
        };
        assert_eq!(
            port_mappings(&[
                port(None, Protocol::Tcp),
                port(Some("127.0.0.1"), Protocol::Udp)
            ]),
            json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1"}])
        );
    }

    #[test]
    fn arguments_become_capabilities_where_a_plugin_declares_them() {
        let given = pairs(&[
            ("IP", "10.1.2.3/24"),
            ("MAC", "02:00:00:00:00:01"),
            ("x", "y"),
        ]);
        let declared = list(json!({"ips": true, "mac": true}));
        let asked_of = asked(&declared, &given).unwrap();
        assert_eq!(
            Value::Object(asked_of.capabilities),
            json!({"ips": ["10.1.2.3/24"], "mac": "02:00:00:00:00:01"})
        );
        assert_eq!(asked_of.arguments, "IgnoreUnknown=1;x=y");
        let undeclared = asked(&list(json!({})), &given).unwrap();
        assert!(undeclared.capabilities.is_empty());
        assert_eq!(
            undeclared.arguments,
            "IgnoreUnknown=1;IP=10.1.2.3/24;MAC=02:00:00:00:00:01;x=y"
        );
        assert_eq!(asked(&declared, &[]).unwrap(), Asked::default());
    }

    #[test]
    fn bandwidth_and_dns_need_a_plugin_that_declares_them() {
        let given = pairs(&[
            ("EGRESS_RATE", "1000"),
            ("EGRESS_BURST", "2000"),
            ("DNS", "9.9.9.9,::1"),
        ]);
        assert_eq!(
            Value::Object(
                asked(&list(json!({"bandwidth": true, "dns": true})), &given)
                    .unwrap()
                    .capabilities
            ),
            json!({"bandwidth": {"egressRate": 1000, "egressBurst": 2000},
                "dns": {"servers": ["9.9.9.9", "::1"], "searches": []}})
        );
        assert!(asked(&list(json!({"dns": true})), &given).is_err());
    }

    #[test]
    fn arguments_that_could_be_read_as_others_are_refused() {
        for (key, given) in [
            ("a", "b;IP=1.2.3.4"),
            ("a=b", "c"),
            ("a", "b=c"),
            ("a", "b\nc"),
            ("a", "$(x)"),
            ("", "x"),
            ("x", ""),
            ("a b", "c"),
            ("IP", "10.0.0.1/99"),
            ("IP", "localhost"),
            ("MAC", "02:00"),
            ("EGRESS_RATE", "-1"),
        ] {
            let all = list(json!({"ips": true, "mac": true, "bandwidth": true}));
            assert!(
                asked(&all, &pairs(&[(key, given)])).is_err(),
                "{key}={given}"
            );
        }
    }
}

//! What plugins answer: strictly parsed, bounded, and checked before any of it is used. The reply itself is handed on to
//! the next plugin as it is; all that we use of it are the addresses and the DNS settings.

use std::net::IpAddr;

use cni_plugin::reply::{Dns, SuccessReply, VersionReply};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::conflist::VERSIONS;
use super::error::quote;
use super::json;

/// The most entries of any list in a result.
const MAX_ENTRIES: usize = 256;

/// The most name servers, search domains or options.
const MAX_DNS: usize = 32;

/// What a network gave the pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Joined {
    /// The pod's addresses in it.
    pub(crate) addresses: Vec<IpNetwork>,
    /// Its name servers.
    pub(crate) nameservers: Vec<IpAddr>,
    /// Search domains, the network's own domain first.
    pub(crate) search: Vec<String>,
    /// Resolver options.
    pub(crate) options: Vec<String>,
}

/// Why an answer cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    Json(serde_json::Error),
    Content(String),
}

impl From<String> for Unusable {
    fn from(why: String) -> Self {
        Self::Content(why)
    }
}

/// Parses the answer to ADD: the document for the next plugin, and what we take from it.
pub(super) fn result(bytes: &[u8]) -> Result<(Value, Joined), Unusable> {
    let document = json::parse(bytes).map_err(Unusable::Json)?;
    let joined = joined(&document)?;
    Ok((document, joined))
}

/// What we take from a result.
pub(super) fn joined(document: &Value) -> Result<Joined, Unusable> {
    let view = SuccessReply::deserialize(normal(document)?).map_err(Unusable::Json)?;
    let version = view.cni_version.to_string();
    if !VERSIONS.contains(&version.as_str()) {
        return Err(format!("its CNI version is {}", quote(&version)).into());
    }
    for (what, count) in [
        ("interfaces", view.interfaces.len()),
        ("addresses", view.ips.len()),
        ("routes", view.routes.len()),
    ] {
        if count > MAX_ENTRIES {
            return Err(format!("it has {count} {what}, {MAX_ENTRIES} are allowed").into());
        }
    }
    for interface in &view.interfaces {
        if !is_interface(&interface.name) {
            return Err(format!(
                "'{}' is not the name of an interface",
                quote(&interface.name)
            )
            .into());
        }
    }
    for ip in &view.ips {
        if ip.interface.is_some_and(|at| at >= view.interfaces.len()) {
            return Err(format!(
                "address {} is of an interface that it does not list",
                ip.address
            )
            .into());
        }
    }
    let mut joined = dns(view.dns)?;
    joined.addresses = view.ips.into_iter().map(|ip| ip.address).collect();
    Ok(joined)
}

/// The versions that a plugin knows.
pub(super) fn versions(bytes: &[u8]) -> Result<Vec<String>, Unusable> {
    let document = json::parse(bytes).map_err(Unusable::Json)?;
    let reply = VersionReply::deserialize(document).map_err(Unusable::Json)?;
    Ok(reply
        .supported_versions
        .iter()
        .map(ToString::to_string)
        .collect())
}

/// The message of an error answer, escaped. Plugins leave out what the specification asks for: only `msg` is relied on.
pub(super) fn refusal(stdout: &[u8], stderr: &[u8]) -> String {
    let document = json::parse(stdout).unwrap_or_default();
    let text = |key| {
        document
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let said = match (text("msg"), text("details")) {
        (Some(message), Some(details)) => format!("{message}: {details}"),
        (Some(message), None) => message.to_owned(),
        (None, _) if stderr.is_empty() && document.is_null() => {
            String::from_utf8_lossy(stdout).into_owned()
        }
        (None, _) => String::from_utf8_lossy(stderr).into_owned(),
    };
    let code = document.get("code").and_then(Value::as_u64);
    match (quote(&said), code) {
        (said, Some(code)) if said.is_empty() => format!("error {code}"),
        (said, None) if said.is_empty() => "it gave no reason".to_owned(),
        (said, _) => said,
    }
}

/// Fills in what the crate's type requires and plugins leave out: `sandbox` of an interface on the host, `dns`, lists
/// that are null. A hardware address that is not of Ethernet's length is dropped, for the type has no other.
fn normal(document: &Value) -> Result<Value, Unusable> {
    let Value::Object(result) = document else {
        return Err("it is not an object".to_owned().into());
    };
    let mut result: Map<String, Value> = result.clone();
    result.retain(|_, value| !value.is_null());
    result.entry("dns").or_insert_with(|| Map::new().into());
    // Where a structure is expected, serde would take a list of its fields as well.
    let entries = |key| {
        result
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let mut structures = ["interfaces", "ips", "routes"]
        .into_iter()
        .flat_map(entries)
        .chain(result.get("dns"));
    if !structures.all(Value::is_object) {
        return Err("an entry of it is not an object".to_owned().into());
    }
    if let Some(Value::Array(interfaces)) = result.get_mut("interfaces") {
        for interface in interfaces.iter_mut().filter_map(Value::as_object_mut) {
            interface.entry("sandbox").or_insert_with(|| "".into());
            let ethernet = |mac: &str| mac.parse::<cni_plugin::macaddr::MacAddr>().is_ok();
            if interface
                .get("mac")
                .and_then(Value::as_str)
                .is_some_and(|mac| !ethernet(mac))
            {
                interface.remove("mac");
            }
        }
    }
    Ok(Value::Object(result))
}

/// Every value is one that a line of `resolv.conf` may hold.
fn dns(view: Dns) -> Result<Joined, Unusable> {
    let mut search: Vec<String> = view
        .domain
        .into_iter()
        .filter(|domain| !domain.is_empty())
        .collect();
    search.extend(view.search);
    search.dedup();
    if [view.nameservers.len(), search.len(), view.options.len()]
        .into_iter()
        .any(|n| n > MAX_DNS)
    {
        return Err(format!("a list of its DNS settings has more than {MAX_DNS} entries").into());
    }
    if let Some(bad) = search.iter().find(|domain| !is_domain(domain)) {
        return Err(format!("'{}' is not a domain", quote(bad)).into());
    }
    if let Some(bad) = view.options.iter().find(|option| !is_option(option)) {
        return Err(format!("'{}' is not a resolver option", quote(bad)).into());
    }
    Ok(Joined {
        addresses: Vec::new(),
        nameservers: view.nameservers,
        search,
        options: view.options,
    })
}

/// A name that the kernel takes for an interface (`dev_valid_name`), ASCII only.
pub(super) fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'))
}

/// A host or domain name, with or without the final dot.
pub(super) fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// An option of `resolv.conf(5)`: `rotate`, `ndots:2`.
pub(super) fn is_option(option: &str) -> bool {
    (1..=64).contains(&option.len())
        && option.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'-' | b'_')
        })
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;

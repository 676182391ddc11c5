//! The networks of a pod: loaded before anything is made, joined when the inside is mapped, left at the end. Then the end of
//! our code in the pod, and what the keeper does while the pod lives.

use pod::{Network, NetworkRequest, Origin, PodManifest, PortMapping, Protocol};
use serde_json::{Value, json};

use super::known::Known;
use super::{Item, Process};
use crate::plan::Plan;

fn keeper(op: &str, args: Value, text: impl Into<String>) -> Item {
    Item::new(Process::Keeper, op, args, text)
}

fn conflist(network: &NetworkRequest) -> String {
    let path = network.conflist.as_deref().unwrap_or("built in");
    path.escape_debug().to_string()
}

/// Before anything is made: a network that cannot be joined stops the pod here.
pub(super) fn loaded(manifest: &PodManifest, plan: &Plan) -> Vec<Item> {
    let Network::Cni { plugin_path, .. } = &manifest.network else {
        return Vec::new();
    };
    let one = |network: &NetworkRequest| {
        let path = plugin_path
            .iter()
            .map(|path| path.escape_debug().to_string());
        let text = format!(
            "read the conflist of network {} ({}), find its plugins in {}, and ask them for version and status where it wants that",
            network.name,
            conflist(network),
            path.collect::<Vec<_>>().join(", ")
        );
        let args = json!({
            "name": network.name, "conflist": network.conflist, "plugin_path": plugin_path,
        });
        keeper("load-network", args, text).by(plan.keeper.network_origin)
    };
    plan.keeper.networks.iter().map(one).collect()
}

/// When the inside is mapped: the networks, and the end of our code in the pod.
pub(super) fn joined(manifest: &PodManifest, plan: &Plan, known: &Known) -> Vec<Item> {
    let mut items = Vec::new();
    let networks = &plan.keeper.networks;
    if !networks.is_empty() {
        let text = "hold the network namespace of the pod open until the networks are left: plugins open it through the keeper";
        let held = keeper("hold-network", Value::Null, text);
        items.push(held.by(plan.keeper.network_origin));
    }
    items.extend(networks.iter().enumerate().map(|(number, network)| {
        let item = added(number, network, known);
        item.by(plan.keeper.network_origin)
    }));
    items.extend(manifest.ports.iter().map(published));
    items.push(filled(manifest));
    let text = "become stage2: the standard streams, descriptors of apps, status, keeper, cgroups and sockets, no others; nothing of the environment but --debug and --error-format";
    let stage2 = Item::new(Process::Inside, "execute-stage2", Value::Null, text);
    items.push(stage2);
    items.extend(while_it_lives(manifest));
    items
}

fn added(number: usize, network: &NetworkRequest, known: &Known) -> Item {
    let interface = format!("eth{number}");
    let record = known.networks.iter().find(|one| one.name == network.name);
    let addresses = record.map(|record| &record.addresses);
    let arguments = network.arguments.iter();
    let arguments: String = arguments
        .map(|(key, value)| format!(" {}={}", key.escape_debug(), value.escape_debug()))
        .collect();
    let has = match addresses.map(Vec::as_slice) {
        None => String::new(),
        Some([]) => ": no address".to_owned(),
        Some(addresses) => format!(": {}", addresses.join(", ")),
    };
    let text = format!(
        "add network {} (conflist {}){arguments} as {interface}, recorded in net/{}.json{has}",
        network.name,
        conflist(network),
        network.name
    );
    let args = json!({
        "name": network.name, "conflist": network.conflist, "interface": interface,
        "arguments": network.arguments, "addresses": addresses,
    });
    keeper("add-network", args, text)
}

fn published(port: &PortMapping) -> Item {
    let PortMapping {
        host_ip,
        host_port,
        pod_port,
        protocol,
    } = port;
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let host = match host_ip {
        Some(ip) => format!("{ip} port {host_port}"),
        None => format!("port {host_port} of every address"),
    };
    let text = format!(
        "publish port {pod_port}/{protocol} of the pod as {host}, by the first network that can; bind that on the host, if its plugin does not"
    );
    keeper("publish-port", json!(port), text).by(Origin::CommandLine)
}

fn filled(manifest: &PodManifest) -> Item {
    let files = match manifest.network {
        Network::None => vec![
            ("hostname", "the host name"),
            ("hosts", "localhost, and the host name as 127.0.1.1"),
        ],
        Network::Cni { .. } => vec![
            ("hostname", "the host name"),
            (
                "hosts",
                "localhost, and the host name by the pod's addresses",
            ),
            (
                "resolv.conf",
                "what the networks say; if they name no server, the host's but those of its loopback interface",
            ),
        ],
        Network::Host => vec![
            ("hostname", "the host name"),
            ("hosts", "the host's"),
            ("resolv.conf", "the host's servers, search list and options"),
        ],
    };
    let say = |(name, what): &(&str, &str)| format!("{name} ({what})");
    let said: Vec<_> = files.iter().map(say).collect();
    let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
    let text = format!("write the staged files of /etc: {}", said.join(", "));
    Item::new(Process::Inside, "fill-files", json!({"files": names}), text)
}

/// From the exec of stage2 to its end.
fn while_it_lives(manifest: &PodManifest) -> Vec<Item> {
    let mut items = Vec::new();
    if manifest.apps.iter().any(|app| app.terminal) {
        let text = "pass the caller's terminal, in raw mode until the end, and the size of its window on to the pod's";
        let relay = keeper("relay-terminal", Value::Null, text);
        items.push(relay.by(Origin::CommandLine));
    }
    let text = "wait for the end of the pod; pass signals on to stage2, but those that the caller ignored and those that mean the keeper";
    items.push(keeper("wait", Value::Null, text));
    items
}

/// When the pod has ended.
pub(super) fn left(plan: &Plan) -> Vec<Item> {
    let one = |network: &NetworkRequest| {
        let name = &network.name;
        let text =
            format!("del network {name}, and remove net/{name}.json when that has succeeded");
        let args = json!({"name": name});
        let item = Item::new(Process::KeeperAfterwards, "del-network", args, text);
        item.by(plan.keeper.network_origin)
    };
    plan.keeper.networks.iter().rev().map(one).collect()
}

//! What the keeper does, in the order of `run.rs`, and what `finish.rs` undoes. It and the inside work at the same time: the
//! order of what different processes do is that in which one waits for the other.

use pod::{AppName, IdMapChoice, Origin, PodManifest};
use serde_json::{Value, json};

use super::{Item, Process, extents};
use crate::cgroup::settings::Setting;
use crate::plan::{DeviceNode, Directory, MapWriter, Opener, Owner, Plan};

/// Up to the inside, and the namespaces that it makes at once.
pub(super) fn before(manifest: &PodManifest, plan: &Plan) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let mut items = Vec::new();
    if let IdMapChoice::Range {
        first, last, count, ..
    } = manifest.id_map
    {
        let args = json!({"first": first, "last": last, "count": count});
        let text = format!(
            "take {count} user ids between {first} and {last} that no other pod has, under a lock"
        );
        items.push(keeper("take-ids", args, text));
    }
    let text = "make the skeleton of roots in the data directory, if it is not there";
    items.push(keeper("make-skeleton", Value::Null, text.to_owned()));
    let cgroup = format!("skua-{}", manifest.id);
    let text =
        format!("make cgroup {cgroup} below the caller's own, where the host lets the caller");
    items.push(keeper("make-cgroup", json!({"name": cgroup}), text));
    items.extend(limits(plan, None));
    let text = "clone the inside into that cgroup and new namespaces: user, pid";
    let args = json!({"namespaces": ["user", "pid"]});
    items.push(keeper("clone", args, text.to_owned()));
    let mut further = super::namespaces(plan);
    further.retain(|name| !["user", "pid"].contains(name));
    let text = format!("make new namespaces: {}", further.join(", "));
    let args = json!({"namespaces": further});
    items.push(Item::new(Process::Inside, "make-namespaces", args, text));
    items
}

/// While the inside makes its namespaces: what it will need, up to the trees.
pub(super) fn meanwhile(plan: &Plan) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let mut items: Vec<Item> = plan.keeper.directories.iter().map(directory).collect();
    items.extend(plan.keeper.nodes.iter().map(node));
    items.push(write_maps(plan));
    if let Opener::Keeper { pod_base, .. } = plan.opener {
        let text = format!(
            "make user namespaces that show owners of layers and volumes as ids from {pod_base} on"
        );
        items.push(keeper("map-mounts", json!({"host": pod_base}), text));
    }
    items
}

fn node(node: &DeviceNode) -> Item {
    let (app, device) = (&node.app, &node.device);
    let path = format!("devices/{app}/{}", node.number);
    let text = format!(
        "make device node {path} for {} ({}:{})",
        device.host.escape_debug(),
        device.major,
        device.minor
    );
    let args = json!({"path": path, "device": device});
    let item = Item::new(Process::Keeper, "make-device", args, text);
    item.by(pod::Origin::CommandLine)
}

fn directory(directory: &Directory) -> Item {
    let Directory {
        path,
        mode,
        owner,
        origin,
    } = directory;
    let (whose, owner) = match owner {
        Owner::Keeper => ("the keeper", "keeper"),
        Owner::Pod => ("user 0 of the pod", "pod"),
    };
    let path = path.display().to_string();
    let text = format!(
        "make directory {} of {whose}, mode {mode:04o}",
        path.escape_debug()
    );
    let args = json!({"path": path, "mode": format!("{mode:04o}"), "owner": owner});
    Item::new(Process::Keeper, "make-directory", args, text).by(*origin)
}

/// While the inside builds the root: the files for stage2 and for others.
pub(super) fn beside(manifest: &PodManifest, plan: &Plan) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let mut items = Vec::new();
    for (app, _) in &plan.limits.apps {
        items.extend(limits(plan, Some(app)));
    }
    for (app, file) in manifest.apps.iter().zip(&plan.apps) {
        let mut files = vec![format!("apps/{}/app.json", app.name)];
        let beside = file.seccomp.as_ref();
        files.extend(beside.map(|name| format!("apps/{}/{name}", app.name)));
        for path in files {
            let text = format!("write {path} for stage2");
            items.push(keeper("write-file", json!({"path": path}), text));
        }
    }
    items.push(keeper(
        "write-file",
        json!({"path": "pid"}),
        "write pid, by which others find the pod".to_owned(),
    ));
    items.push(keeper(
        "reopen-pipes",
        Value::Null,
        "let apps open the caller's standard streams again, where they are pipes: mode 0666"
            .to_owned(),
    ));
    items
}

/// The limits of the pod, or of one app.
fn limits(plan: &Plan, app: Option<&AppName>) -> Vec<Item> {
    let (whose, settings) = match app {
        None => ("the pod".to_owned(), Some(&plan.limits.pod)),
        Some(app) => {
            let found = plan.limits.apps.iter().find(|(name, _)| name == app);
            (format!("app {app}"), found.map(|(_, settings)| settings))
        }
    };
    let one = |setting: &Setting| {
        let Setting {
            file,
            value,
            origin,
        } = setting;
        // What nobody asked for is not refused where it cannot be had.
        let otherwise = match (*file, origin) {
            ("pids.max", Origin::BuiltIn) => {
                ", or where there is no such file RLIMIT_NPROC of every app"
            }
            _ => "",
        };
        let value = value.escape_debug();
        let text = format!("set {file} of the cgroup of {whose} to {value}{otherwise}");
        let args = json!({"app": app, "file": file, "value": setting.value});
        Item::new(Process::Keeper, "set-limit", args, text).by(*origin)
    };
    settings.into_iter().flatten().map(one).collect()
}

fn write_maps(plan: &Plan) -> Item {
    let (by, how) = match &plan.keeper.map_writer {
        MapWriter::Keeper => ("keeper", String::new()),
        MapWriter::KeeperWithoutGroups => ("keeper", ", and deny setgroups".to_owned()),
        MapWriter::Programs { users, groups } => {
            let how = format!(
                " with {} and {}",
                users.escape_debug(),
                groups.escape_debug()
            );
            ("programs", how)
        }
    };
    let map = &plan.id_map;
    let args = json!({"by": by, "uids": map.uids, "gids": map.gids});
    let text = format!(
        "map user ids ({}) and group ids ({}){how}",
        extents(&map.uids),
        extents(&map.gids)
    );
    Item::new(Process::Keeper, "map-ids", args, text)
}

/// When the inside is mapped: the networks, and the end of our code in the pod.
pub(super) fn joined(manifest: &PodManifest, plan: &Plan) -> Vec<Item> {
    let mut items = Vec::new();
    for (number, network) in plan.keeper.networks.iter().enumerate() {
        let interface = format!("eth{number}");
        let conflist = network.conflist.as_deref().unwrap_or("built in");
        let ports: &[_] = match number {
            0 => &manifest.ports,
            _ => &[],
        };
        let args = json!({
            "name": network.name, "conflist": network.conflist, "interface": interface,
            "arguments": network.arguments,
        });
        let text = format!(
            "add network {} (conflist {}) as {interface}, recorded in net/{}.json",
            network.name,
            conflist.escape_debug(),
            network.name
        );
        let item = Item::new(Process::Keeper, "add-network", args, text);
        items.push(item.by(plan.keeper.network_origin));
        for port in ports {
            let text = format!(
                "publish port {} of the pod as {}",
                port.pod_port, port.host_port
            );
            let item = Item::new(Process::Keeper, "publish-port", json!(port), text);
            items.push(item.by(pod::Origin::CommandLine));
        }
    }
    let files = "write what the networks say into the staged files of /etc";
    items.push(Item::new(Process::Inside, "fill-files", Value::Null, files));
    let text = "become stage2: descriptors 0 to 5, an empty environment, all others closed at exec";
    items.push(Item::new(
        Process::Inside,
        "execute-stage2",
        Value::Null,
        text,
    ));
    items
}

/// After the end of the pod, whatever the end was.
pub(super) fn afterwards(manifest: &PodManifest, plan: &Plan) -> Vec<Item> {
    let after = |op, args, text: String| Item::new(Process::KeeperAfterwards, op, args, text);
    let mut items: Vec<Item> = plan
        .keeper
        .networks
        .iter()
        .rev()
        .map(|network| {
            let text = format!("del network {}", network.name);
            after("del-network", json!({"name": network.name}), text).by(plan.keeper.network_origin)
        })
        .collect();
    let cgroup = format!("skua-{}", manifest.id);
    let text = format!("kill what is left in cgroup {cgroup}, and remove it");
    items.push(after("remove-cgroup", json!({"name": cgroup}), text));
    items.push(after(
        "write-file",
        json!({"path": "result.json"}),
        "write result.json".to_owned(),
    ));
    items.push(after(
        "move-pod",
        json!({"state": "exited-garbage"}),
        "move the pod to exited-garbage".to_owned(),
    ));
    if plan.keeper.remove {
        let text = "remove the pod's directory".to_owned();
        items.push(after("remove-pod", Value::Null, text).by(pod::Origin::CommandLine));
    }
    items
}

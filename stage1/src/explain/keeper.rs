//! What the keeper does, in the order of `run.rs`, and what `finish.rs` undoes. It and the inside work at the same time: the
//! order of what different processes do is that in which one waits for the other.

use pod::{AppName, IdMapChoice, Origin, PodManifest, SocketName};
use serde_json::{Value, json};

use super::known::Known;
use super::{Item, Process, extents, network};
use crate::cgroup::settings::{Controller, Setting};
use crate::plan::{DeviceNode, Directory, MapWriter, Opener, Owner, Plan};

/// Up to the inside, and the namespaces that it makes at once.
pub(super) fn before(manifest: &PodManifest, plan: &Plan, known: &Known) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let given = sockets(manifest).into_iter().chain(credentials(manifest));
    let mut items: Vec<Item> = given.collect();
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
    let text = "look for the cgroup that is the caller's to divide; systemctl is asked about a unit without a mark of it";
    items.push(keeper("find-cgroup", Value::Null, text.to_owned()));
    items.extend(network::loaded(manifest, plan));
    let text = "make the skeleton of roots in the data directory, if it is not there";
    items.push(keeper("make-skeleton", Value::Null, text.to_owned()));
    items.extend(cgroup(manifest, plan, known));
    items.extend(limits(plan, None));
    items.extend(outlets(plan));
    let owner = plan.keeper.owner;
    let whose = owner.map(|owner| format!(", the first owned by user {owner}"));
    let text = format!(
        "clone the inside into that cgroup and new namespaces: user, pid{}",
        whose.unwrap_or_default()
    );
    let args = json!({"namespaces": ["user", "pid"], "owner": owner});
    items.push(keeper("clone", args, text));
    let mut further = super::namespaces(plan);
    further.retain(|name| !["user", "pid"].contains(name));
    let text = format!(
        "make a session of its own, and new namespaces: {}",
        further.join(", ")
    );
    let args = json!({"namespaces": further});
    items.push(Item::new(Process::Inside, "make-namespaces", args, text));
    items
}

/// Apps with a terminal of the pod get that.
fn outlets(plan: &Plan) -> Option<Item> {
    let text = "make pipes for what apps write to standard output and error, where those are terminals, files or Unix sockets, to pass it on";
    let item = Item::new(
        Process::Keeper,
        "make-outlets",
        Value::Null,
        text.to_owned(),
    );
    (!plan.has_terminal()).then_some(item)
}

/// The sockets that apps claim.
fn sockets(manifest: &PodManifest) -> Option<Item> {
    let claimed = manifest.apps.iter().flat_map(|app| &app.sockets);
    let names: Vec<_> = claimed.map(SocketName::as_str).collect();
    let list = names.join(", ");
    let text =
        format!("take over the sockets of the unit, which must be these, for the inside: {list}");
    let item = Item::new(Process::Keeper, "take-sockets", json!(names), text);
    (!names.is_empty()).then(|| item.by(Origin::CommandLine))
}

/// The credentials that apps claim.
fn credentials(manifest: &PodManifest) -> Option<Item> {
    let claimed = manifest.apps.iter().flat_map(|app| &app.credentials);
    let mut names: Vec<_> = claimed.map(|claimed| claimed.source.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let text = format!(
        "take over the open files of credentials, for the inside: {}",
        names.join(", ")
    );
    let item = Item::new(Process::Keeper, "take-credentials", json!(names), text);
    (!names.is_empty()).then(|| item.by(Origin::CommandLine))
}

/// The cgroup of the pod, and what it gets from those above it.
fn cgroup(manifest: &PodManifest, plan: &Plan, known: &Known) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let name = format!("skua-{}", manifest.id);
    let place = match &known.cgroup {
        Some(path) => path.display().to_string().escape_debug().to_string(),
        None => format!("{name} below the caller's own, where the host lets the caller"),
    };
    let text = format!("make the cgroup of the pod, {place}, recorded in the file cgroup");
    let args = json!({"name": name, "path": known.cgroup});
    let mut items = vec![keeper("make-cgroup", args, text)];
    let needed = controllers(plan.limits.controllers());
    if !needed.is_empty() {
        let text = format!(
            "pass controllers on to it where the host has them: {}; a keeper that is alone in the cgroup above moves to skua-keeper beside it",
            needed.join(", ")
        );
        let args = json!({"controllers": needed});
        items.push(keeper("pass-controllers", args, text));
    }
    items
}

fn controllers(all: impl IntoIterator<Item = Controller>) -> Vec<&'static str> {
    all.into_iter().map(Controller::name).collect()
}

/// The cgroups of the apps, if they have some.
fn divided(plan: &Plan) -> Option<Item> {
    let groups = plan.limits.apps.iter().map(|(app, _)| format!("app-{app}"));
    let groups: Vec<_> = ["init".to_owned()].into_iter().chain(groups).collect();
    let passed = controllers(plan.limits.app_controllers());
    let text = format!(
        "divide the cgroup of the pod: {}, with {}; stage2 is in init",
        groups.join(", "),
        passed.join(", ")
    );
    let args = json!({"groups": groups, "controllers": passed});
    let item = Item::new(Process::Keeper, "divide-cgroup", args, text);
    plan.limits.by_app().then_some(item)
}

/// A terminal becomes the standard streams of stage2, which then has to wait for it.
pub(super) fn start_builder(plan: &Plan) -> Option<Item> {
    let text = "go on in a child; meanwhile pid 1 executes stage2, which waits for it";
    let item = Item::new(Process::Inside, "start-builder", Value::Null, text);
    (!plan.has_terminal()).then_some(item)
}

/// What the inside becomes when its ids are mapped.
pub(super) fn become_root(plan: &Plan) -> Item {
    let ids: u64 = plan.id_map.gids.iter().map(|e| u64::from(e.count)).sum();
    let (groups, text) = match ids {
        0 | 1 => (
            "caller",
            "with the caller's further groups, which the kernel does not let go",
        ),
        _ => ("none", "without further groups"),
    };
    let text =
        format!("become user and group 0 of the pod, {text}; be killed when the keeper is gone");
    Item::new(
        Process::Inside,
        "become-root",
        json!({"groups": groups}),
        text,
    )
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
    let rights = match (device.read, device.write) {
        (true, true) => "read and written",
        (true, false) => "read",
        (false, true) => "written",
        (false, false) => "neither read nor written",
    };
    let text = format!(
        "make device node {path} for {} ({}:{}), which can be {rights}",
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

/// When the inside has its namespaces: its cgroups, and what others find it by.
pub(super) fn beside(plan: &Plan) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let mut items: Vec<Item> = divided(plan).into_iter().collect();
    for (app, _) in &plan.limits.apps {
        items.extend(limits(plan, Some(app)));
    }
    items.push(keeper(
        "write-file",
        json!({"path": "pid"}),
        "write pid, by which others find the pod".to_owned(),
    ));
    items.push(keeper(
        "reopen-pipes",
        Value::Null,
        "let apps open the caller's standard streams again, where they are pipes: the input to read, the others to write"
            .to_owned(),
    ));
    items
}

/// What stage2 reads.
pub(super) fn files(manifest: &PodManifest, plan: &Plan, known: &Known) -> Vec<Item> {
    let keeper = |op, args, text: String| Item::new(Process::Keeper, op, args, text);
    let mut items = Vec::new();
    for (app, file) in manifest.apps.iter().zip(&plan.apps) {
        let mut files = vec![format!("apps/{}/app.json", app.name)];
        let beside = file.seccomp.as_ref();
        files.extend(beside.map(|name| format!("apps/{}/{name}", app.name)));
        for path in files {
            let text = format!("write {path} for stage2");
            items.push(keeper("write-file", json!({"path": path}), text));
        }
    }
    if known.watched {
        let path = format!("apps/{}", pod::SYSTEM_CALLS);
        let text =
            format!("write {path} for stage2, which then says what the filters of apps refuse");
        let item = keeper("write-file", json!({"path": path}), text);
        items.push(item.by(Origin::CommandLine));
    }
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
            ..
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

/// After the end of the pod, whatever the end was.
pub(super) fn afterwards(manifest: &PodManifest, plan: &Plan) -> Vec<Item> {
    let after = |op, args, text: String| Item::new(Process::KeeperAfterwards, op, args, text);
    let mut items = network::left(plan);
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
        let text = "remove the pod's directory; as root of the pod's user namespace what is not the caller's".to_owned();
        items.push(after("remove-pod", Value::Null, text).by(pod::Origin::CommandLine));
    }
    items
}

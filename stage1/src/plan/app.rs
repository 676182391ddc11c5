//! The part of a plan that belongs to one app: its root, what is mounted in it, and its file for stage2.

use pod::{
    AppFile, AppNotify, CONTRACT_VERSION, Capability, CapabilitySets, DeviceKind, IdMap,
    InsecureOption, LandlockRules, MountCheck, Network, PodManifest, SeccompChoice,
};

use super::{
    Namespaces, Opener, Plan, Role, SKELETON, app_root, hide, host_files, insecure, mounts,
};
use crate::error::Error;
use crate::op::{App, Device, FileSystem, Find, NewMount, Node, Op, Origin, ROOT, Source, Target};
use crate::seccomp;

/// Devices of every app, with their numbers (`Documentation/admin-guide/devices.txt` of the kernel).
const DEVICES: [(&str, (u32, u32)); 6] = [
    ("/dev/null", (1, 3)),
    ("/dev/zero", (1, 5)),
    ("/dev/full", (1, 7)),
    ("/dev/random", (1, 8)),
    ("/dev/urandom", (1, 9)),
    ("/dev/tty", (5, 0)),
];

/// Debian's and everyone's group `tty`, to which terminals belong where the id map has it.
const TTY_GROUP: u32 = 5;

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Adds all steps of one app.
pub(super) fn add(
    plan: &mut Plan,
    manifest: &PodManifest,
    app: &pod::App,
    place: &App,
) -> Result<(), Error> {
    let mut file = app_file(plan, manifest, app);
    root(plan, app, place, &mut file);
    kernel_file_systems(plan, place, &mut file);
    devices(plan, app, place);
    if place.index == 0 {
        sysctls(plan, manifest, place);
    }
    hide::paths(plan, manifest, app, place, &mut file)?;
    etc(plan, manifest, place);
    mounts::add(plan, manifest, app, place, &mut file)?;
    credentials(plan, app, place, &mut file);
    if app.terminal {
        plan.add(Origin::CommandLine, Op::Terminal(place.clone()));
    }
    if app.readonly_rootfs {
        plan.add(Origin::CommandLine, Op::ReadOnlyRoot(place.clone()));
    }
    plan.apps.push(file);
    Ok(())
}

pub(super) fn target(place: &App, path: &str, find: Find) -> Target {
    Target {
        app: place.clone(),
        path: path.to_owned(),
        find,
    }
}

pub(super) fn expect(file: &mut AppFile, path: &str, kind: FileSystem, read_only: bool) {
    expect_named(file, path, kind.name(), read_only);
}

fn expect_named(file: &mut AppFile, path: &str, file_system: &str, read_only: bool) {
    file.mounts.push(MountCheck {
        path: path.to_owned(),
        file_system: file_system.to_owned(),
        read_only,
    });
}

fn root(plan: &mut Plan, app: &pod::App, place: &App, file: &mut AppFile) {
    let mut lower = Vec::new();
    for layer in &app.layers {
        let at = format!("l{}", plan.trees.len());
        let tree = plan.tree_of(Origin::Image, &layer.path, Role::Layer, true);
        plan.stage_tree(Origin::Image, tree, at.clone());
        lower.insert(0, at);
    }
    lower.push(SKELETON.to_owned());
    let own = |part| format!("w/{}/{part}", app.name);
    let (upper, work) = (own("upper"), own("work"));
    expect_named(file, "/", "overlay", app.readonly_rootfs);
    let app = place.clone();
    let at = format!("{ROOT}{}", file.root.trim_end_matches('/'));
    plan.add(
        Origin::Image,
        Op::Overlay {
            app,
            at,
            lower,
            upper,
            work,
        },
    );
}

/// The most terminals that an app may have: all containers of a machine have 3072 together (`kernel.pty.max` without
/// `kernel.pty.reserve`).
const TERMINALS: u32 = 256;

/// `/proc`, `/sys` and `/dev`. An image in which one of them is a symbolic link is refused.
fn kernel_file_systems(plan: &mut Plan, place: &App, file: &mut AppFile) {
    use FileSystem::{Cgroup2, Devpts, Mqueue, Proc, Sysfs, Tmpfs};
    let own_network = plan.namespaces == Namespaces::All;
    let sysfs = if own_network {
        new(Sysfs, Vec::new(), true)
    } else {
        let tree = plan.tree("/sys", Role::HostSys, true);
        Source::Tree(tree)
    };
    let mut pts = vec![
        ("mode", "0620".to_owned()),
        ("ptmxmode", "0666".to_owned()),
        ("max", TERMINALS.to_string()),
    ];
    if plan
        .id_map
        .gids
        .iter()
        .any(|extent| extent.host_of(TTY_GROUP).is_some())
    {
        pts.push(("gid", TTY_GROUP.to_string()));
    }
    let dev = vec![("mode", "0755".to_owned()), ("size", "64k".to_owned())];
    let shm = Source::Staged {
        path: "shm".to_owned(),
        read_only: false,
        no_exec: false,
    };
    for (path, kind, source) in [
        ("/proc", Proc, new(Proc, Vec::new(), false)),
        ("/sys", Sysfs, sysfs),
        ("/sys/fs/cgroup", Cgroup2, new(Cgroup2, Vec::new(), true)),
        ("/dev", Tmpfs, new(Tmpfs, dev, false)),
        ("/dev/pts", Devpts, new(Devpts, pts, false)),
        ("/dev/mqueue", Mqueue, new(Mqueue, Vec::new(), false)),
        ("/dev/shm", Tmpfs, shm),
    ] {
        let read_only = matches!(kind, Sysfs | Cgroup2);
        let find = match path.starts_with("/dev/") {
            true => Find::Own,
            false => Find::Plain,
        };
        let target = target(place, path, find);
        plan.add(Origin::BuiltIn, Op::Mount { source, target });
        expect(file, path, kind, read_only);
    }
}

fn new(kind: FileSystem, options: Vec<(&'static str, String)>, read_only: bool) -> Source {
    Source::New(NewMount {
        kind,
        options,
        read_only,
    })
}

fn devices(plan: &mut Plan, app: &pod::App, place: &App) {
    for (path, numbers) in DEVICES {
        let device = Device {
            kind: DeviceKind::Character,
            numbers,
        };
        let from = Node::Host(path.to_owned());
        let target = target(place, path, Find::Own);
        let source = Source::Device { from, device };
        plan.add(Origin::BuiltIn, Op::Mount { source, target });
    }
    for (path, to) in LINKS {
        let (target, to) = (target(place, path, Find::Own), to.to_owned());
        plan.add(Origin::BuiltIn, Op::Link { target, to });
    }
    for (number, asked) in app.devices.iter().enumerate() {
        let from = match plan.opener {
            Opener::Keeper { .. } => {
                let node = format!("devices/{}/{number}", app.name);
                Node::Tree(plan.tree_of(Origin::CommandLine, node, Role::Device, false))
            }
            Opener::Inside => Node::HostUsable(asked.host.clone()),
        };
        let device = Device {
            kind: asked.kind,
            numbers: (asked.major, asked.minor),
        };
        let target = target(place, &asked.path, Find::Resolved);
        let source = Source::Device { from, device };
        plan.add(Origin::CommandLine, Op::Mount { source, target });
    }
}

/// While `/proc/sys` can still be written: kernel parameters of the pod, through the `/proc` of its first app.
fn sysctls(plan: &mut Plan, manifest: &PodManifest, place: &App) {
    let nested = !no_nested_users(manifest, &plan.id_map);
    let mut set = |origin, name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        let app = place.clone();
        plan.add(origin, Op::Sysctl { app, name, value });
    };
    if !nested {
        set(Origin::BuiltIn, "user.max_user_namespaces", "0");
    }
    for sysctl in &manifest.sysctls {
        set(Origin::CommandLine, sysctl.name.as_str(), &sysctl.value);
    }
}

/// The built-in filter refuses new user namespaces; where every app has it, so does the kernel itself. Not with a map of one
/// id, where stage2 needs one for an app that is not user 0.
fn no_nested_users(manifest: &PodManifest, map: &IdMap) -> bool {
    let ids: u64 = map.uids.iter().map(|extent| u64::from(extent.count)).sum();
    let built_in = |app: &pod::App| app.seccomp == SeccompChoice::Default;
    ids > 1 && manifest.apps.iter().all(built_in)
}

fn etc(plan: &mut Plan, manifest: &PodManifest, place: &App) {
    for host_file in host_files(&manifest.network) {
        let source = Source::Staged {
            path: host_file.name().to_owned(),
            read_only: false,
            no_exec: false,
        };
        let path = format!("/etc/{}", host_file.name());
        let target = target(place, &path, Find::Resolved);
        plan.add(Origin::BuiltIn, Op::Mount { source, target });
    }
}

/// After the volumes, so that none of them covers it.
fn credentials(plan: &mut Plan, app: &pod::App, place: &App, file: &mut AppFile) {
    if app.credentials.is_empty() {
        return;
    }
    let source = Source::Credentials(app.credentials.clone());
    let target = target(place, pod::CREDENTIALS_PATH, Find::Resolved);
    plan.add(Origin::CommandLine, Op::Mount { source, target });
    let names = app.credentials.iter();
    file.credentials = names.map(|credential| credential.name.clone()).collect();
    let variable = pod::CREDENTIALS_DIRECTORY;
    file.environment
        .retain(|entry| entry.split('=').next() != Some(variable));
    let entry = format!("{variable}={}", pod::CREDENTIALS_PATH);
    file.environment.push(entry);
}

fn app_file(plan: &Plan, manifest: &PodManifest, app: &pod::App) -> AppFile {
    let ambient = if app.ambient {
        app.capabilities.clone()
    } else {
        Vec::new()
    };
    let bounding = app.capabilities.clone();
    let environment = app
        .environment
        .iter()
        .map(|v| format!("{}={}", v.name, v.value));
    AppFile {
        version: CONTRACT_VERSION,
        name: app.name.clone(),
        root: app_root(manifest, &app.name),
        argv: app.argv.clone(),
        environment: environment.collect(),
        user: app.user.clone(),
        group: app.group.clone(),
        supplementary_groups: app.supplementary_groups.clone(),
        working_directory: app.working_directory.clone(),
        stop_signal: app.stop_signal,
        terminal: app.terminal,
        stdin: app.stdin,
        capabilities: CapabilitySets { bounding, ambient },
        no_new_privileges: app.no_new_privileges,
        seccomp: (app.seccomp != SeccompChoice::Unconfined).then(|| seccomp::FILE.to_owned()),
        landlock: landlock(manifest, app),
        rlimits: app.rlimits.clone(),
        process: app.process.clone(),
        labels: app.labels.clone(),
        id_map: plan.id_map.clone(),
        mounts: Vec::new(),
        volumes: Vec::new(),
        sockets: app.sockets.clone(),
        credentials: Vec::new(),
        notify: app.notify.then_some(AppNotify { watchdog_us: None }),
    }
}

/// Landlock denies mounting to whom it confines, so an app that was given the right to mount has no domain for files.
fn landlock(manifest: &PodManifest, app: &pod::App) -> LandlockRules {
    let wanted = !insecure(manifest, InsecureOption::Landlock);
    let files = wanted && !app.capabilities.contains(&Capability::SysAdmin);
    let mut writable = Vec::new();
    if files && app.readonly_rootfs {
        writable.extend(["/proc", "/dev"].map(str::to_owned));
        let own = host_files(&manifest.network).iter();
        writable.extend(own.map(|file| format!("/etc/{}", file.name())));
        let volumes = app.mounts.iter().filter(|mount| !mount.read_only);
        writable.extend(volumes.map(|mount| mount.path.clone()));
    }
    LandlockRules {
        files,
        writable,
        scope_abstract_sockets: wanted && manifest.network == Network::Host,
    }
}

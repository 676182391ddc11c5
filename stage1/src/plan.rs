//! The decision: a manifest and the id map in force become a list of steps and the files for stage2. Pure.

mod app;
mod check;
mod hide;
mod keeper;
mod mounts;

use std::path::{Path, PathBuf};

use pod::policy::Policy;
use pod::{AppFile, AppName, IdMap, IdMapChoice, InsecureOption, Network, PodManifest, Rlimit};

use serde::Serialize;

use crate::cgroup::settings::Settings;
use crate::error::Error;
use crate::op::{App, FileSystem, HostFile, NewMount, Op, Origin, Root, Source, Step};
use crate::skeleton;

pub(crate) use keeper::{DeviceNode, Directory, Keeper, MapWriter, Owner};

/// Everything that will be done for one pod.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The namespaces of the pod.
    pub(crate) namespaces: Namespaces,
    /// The id map.
    pub(crate) id_map: IdMap,
    /// Who may open the trees: see [`Opener`].
    pub(crate) opener: Opener,
    /// The bounds of the host, within which all of this is.
    pub(crate) policy: Policy,
    /// What the keeper does, outside the pod.
    pub(crate) keeper: Keeper,
    /// Files and directories of the host that the pod gets to see.
    pub(crate) trees: Vec<Tree>,
    /// What the inside does, in this order.
    pub(crate) steps: Vec<Step>,
    /// The files for stage2, in manifest order.
    pub(crate) apps: Vec<AppFile>,
    /// What the pod and its apps may use.
    pub(crate) limits: Settings,
    /// Seconds from the stop signal to `SIGKILL`.
    pub(crate) stop_timeout: u32,
}

/// Which network namespace the pod has; all other namespaces are always its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// A network namespace of its own.
    All,
    /// The host's network.
    AllButNetwork,
}

/// Who opens the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    /// The keeper, as root: the pod's ids cannot reach them, and only root can map ids of a mount.
    Keeper {
        /// First id of the pod on the host.
        pod_base: u32,
        /// First id of layers on disk.
        store_base: u32,
        /// Ids of each.
        count: u32,
    },
    /// The inside: an ordinary user gets the right to clone mounts only there.
    Inside,
}

/// A file or directory of the host that becomes a mount of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Its path, absolute or below the pod directory.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) role: Role,
    /// With the mounts below it.
    pub(crate) recursive: bool,
    /// Read-only.
    pub(crate) read_only: bool,
    /// Nothing in it can be executed.
    pub(crate) no_exec: bool,
    /// Who asked for it.
    pub(crate) origin: Origin,
}

/// What a tree is: it decides its id map and its mount flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// A layer of the store; owners are mapped from the store's range.
    Layer,
    /// A directory of the pod directory; it is owned by the pod's own ids.
    Own,
    /// A volume of the host; owners are mapped from the host's first ids.
    HostVolume,
    /// `sysfs` of the host, for a pod in its network.
    HostSys,
    /// A device node that the keeper made; it keeps its owner, whom the pod does not have.
    Device,
}

/// Where an app has its root in stage2's view. The only app of a pod has the root itself.
fn app_root(manifest: &PodManifest, app: &AppName) -> String {
    match manifest.apps.as_slice() {
        [_] => "/".to_owned(),
        _ => format!("/apps/{app}/rootfs"),
    }
}

impl Plan {
    /// Decides everything. `id_map` is the one that `manifest.id_map` led to.
    pub(crate) fn new(manifest: &PodManifest, id_map: &IdMap) -> Result<Self, Error> {
        check::manifest(manifest)?;
        mounts::check_owners(manifest, id_map)?;
        let mut plan = Self {
            namespaces: namespaces(&manifest.network),
            id_map: id_map.clone(),
            opener: opener(&manifest.id_map, id_map),
            policy: Policy::default(),
            keeper: Keeper::new(manifest, id_map),
            trees: Vec::new(),
            steps: Vec::new(),
            apps: Vec::new(),
            limits: Settings::new(manifest),
            stop_timeout: manifest.stop_timeout,
        };
        plan.begin(manifest);
        for (index, app) in manifest.apps.iter().enumerate() {
            let place = App {
                index,
                name: app.name.clone(),
            };
            app::add(&mut plan, manifest, app, &place)?;
        }
        let root = match manifest.apps.as_slice() {
            [app] => Root::Of(App {
                index: 0,
                name: app.name.clone(),
            }),
            _ => Root::Private,
        };
        plan.add(Origin::BuiltIn, Op::Pivot(root));
        Ok(plan)
    }

    /// The plan, if what it is for is within the bounds of the host. What is at the path of a volume is looked at again
    /// when it is opened.
    pub(crate) fn within(self, policy: Policy, manifest: &PodManifest) -> Result<Self, Error> {
        policy.check(manifest)?;
        Ok(Self { policy, ..self })
    }

    /// Bounds the processes that each user of the pod may have, in apps for which no such bound was asked for.
    pub(crate) fn bound_processes(&mut self, most: Option<u64>) {
        const RESOURCE: &str = "RLIMIT_NPROC";
        let Some(most) = most else { return };
        for app in &mut self.apps {
            if app.rlimits.iter().all(|limit| limit.resource != RESOURCE) {
                app.rlimits.push(Rlimit {
                    resource: RESOURCE.to_owned(),
                    soft: Some(most),
                    hard: Some(most),
                });
            }
        }
    }

    /// Lets the apps that tell how they go know how often the manager wants to hear it.
    pub(crate) fn watch(&mut self, watchdog_us: Option<u64>) {
        let telling = self.apps.iter_mut().filter_map(|app| app.notify.as_mut());
        telling.for_each(|notify| notify.watchdog_us = watchdog_us);
    }

    /// The steps before one that is there, and that one with all that follow.
    pub(crate) fn steps_around(&self, op: &Op) -> (&[Step], &[Step]) {
        let at = self.steps.iter().position(|step| step.op == *op);
        self.steps.split_at(at.unwrap_or_default())
    }

    /// Whether an app has a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        let is = |step: &Step| matches!(step.op, Op::Terminal(_));
        self.steps.iter().any(is)
    }

    fn begin(&mut self, manifest: &PodManifest) {
        self.add(Origin::BuiltIn, Op::PrivateMounts);
        if self.namespaces == Namespaces::All {
            self.add(Origin::BuiltIn, Op::LoopbackUp);
        }
        let origin = manifest.origins.of("hostname");
        self.add(origin, Op::Hostname(manifest.hostname.clone()));
        self.add(Origin::BuiltIn, Op::Staging);
        if manifest.apps.len() > 1 {
            self.add(Origin::BuiltIn, Op::PrivateRoot);
        }
        self.add(Origin::BuiltIn, Op::StageHanded);
        for file in host_files(&manifest.network) {
            self.add(Origin::BuiltIn, Op::StageFile(*file));
        }
        let rootfs = self.tree("rootfs", Role::Own, false);
        self.stage_tree(Origin::BuiltIn, rootfs, "w".to_owned());
        let skeleton = self.tree(skeleton::PATH, Role::Layer, true);
        self.stage_tree(
            manifest.origins.of("shm_size"),
            skeleton,
            SKELETON.to_owned(),
        );
        self.stage_mount(
            manifest.origins.of("shm_size"),
            "shm".to_owned(),
            tmpfs("1777", Some(manifest.shm_size)),
        );
        mounts::stage(self, manifest);
    }

    fn add(&mut self, origin: Origin, op: Op) {
        self.steps.push(Step { op, origin });
    }

    /// A step in words for whoever typed a path: a tree by its path, not by its number.
    pub(crate) fn said(&self, op: &Op) -> String {
        match op {
            Op::Mount {
                source: Source::Tree(tree),
                target,
            } => match self.trees.get(*tree) {
                Some(tree) => format!("mount {} on {target}", tree.path.display()),
                None => op.to_string(),
            },
            op => op.to_string(),
        }
    }

    fn tree(&mut self, path: impl AsRef<Path>, role: Role, read_only: bool) -> usize {
        let recursive = role == Role::HostSys;
        let path = path.as_ref().to_owned();
        self.trees.push(Tree {
            path,
            role,
            recursive,
            read_only,
            no_exec: false,
            origin: Origin::BuiltIn,
        });
        self.trees.len() - 1
    }

    fn tree_of(
        &mut self,
        origin: Origin,
        path: impl AsRef<Path>,
        role: Role,
        read_only: bool,
    ) -> usize {
        let tree = self.tree(path, role, read_only);
        self.trees[tree].origin = origin;
        tree
    }

    fn stage_tree(&mut self, origin: Origin, tree: usize, at: String) {
        self.add(origin, Op::StageDirectory(at.clone()));
        self.add(origin, Op::StageTree { tree, at });
    }

    fn stage_mount(&mut self, origin: Origin, at: String, mount: NewMount) {
        self.add(origin, Op::StageDirectory(at.clone()));
        self.add(origin, Op::StageMount { mount, at });
    }
}

/// Where the skeleton is staged.
const SKELETON: &str = "s";

fn namespaces(network: &Network) -> Namespaces {
    match network {
        Network::Host => Namespaces::AllButNetwork,
        Network::None | Network::Cni { .. } => Namespaces::All,
    }
}

fn opener(choice: &IdMapChoice, id_map: &IdMap) -> Opener {
    match (choice, id_map.uids.first()) {
        (IdMapChoice::Range { store_base, .. }, Some(extent)) => Opener::Keeper {
            pod_base: extent.host,
            store_base: *store_base,
            count: extent.count,
        },
        _ => Opener::Inside,
    }
}

/// A pod without a network has no use for a resolver: there the image's own file stays.
fn host_files(network: &Network) -> &'static [HostFile] {
    match network {
        Network::None => &[HostFile::Hostname, HostFile::Hosts],
        Network::Host | Network::Cni { .. } => {
            &[HostFile::Hostname, HostFile::Hosts, HostFile::ResolvConf]
        }
    }
}

fn tmpfs(mode: &str, size: Option<u64>) -> NewMount {
    let mut options = vec![("mode", mode.to_owned())];
    if let Some(size) = size {
        options.push(("size", size.to_string()));
    }
    NewMount {
        kind: FileSystem::Tmpfs,
        options,
        read_only: false,
    }
}

pub(crate) fn insecure(manifest: &PodManifest, option: InsecureOption) -> bool {
    manifest.insecure_options.contains(&option)
}

#[cfg(test)]
mod tests;

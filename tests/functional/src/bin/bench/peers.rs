//! The launchers that skua is compared with, each with the same root and as near to the same sandbox as it can build.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::{Failure, Lab, succeed};
use crate::measure::Contender;

/// The user as whom a contender runs.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
}

impl Caller {
    /// `program` as this user, with an environment of nothing but `HOME`, `PATH` and the runtime directory.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", self.home.join("runtime"));
        command
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .current_dir(&self.home);
        if self.uid != 0 {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    fn label(&self, what: &str) -> String {
        format!("{what} ({})", if self.uid == 0 { "root" } else { "user" })
    }
}

/// Makes the home and runtime directory of a caller in the lab.
pub(crate) fn caller(lab: &Lab, uid: u32, gid: u32) -> Result<Caller, Failure> {
    let home = lab.make(&format!("home-{uid}"))?;
    fs::create_dir_all(home.join("runtime"))?;
    succeed(
        Command::new("chown")
            .arg("-R")
            .arg(format!("{uid}:{gid}"))
            .arg(&home),
    )?;
    succeed(Command::new("chmod").arg("0700").arg(home.join("runtime")))?;
    Ok(Caller { uid, gid, home })
}

/// Copies `root` for this caller, so that every contender reads files of its own.
fn copy_root(root: &Path, caller: &Caller, to: &str) -> Result<PathBuf, Failure> {
    let copy = caller.home.join(to);
    succeed(Command::new("cp").arg("-a").arg(root).arg(&copy))?;
    succeed(
        Command::new("chown")
            .arg("-R")
            .arg(format!("{}:{}", caller.uid, caller.gid))
            .arg(&copy),
    )?;
    Ok(copy)
}

/// What a container of crun has of the sandbox of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// That of crun's default specification: no filter of system calls; root has no user namespace.
    AsSpecified,
    /// That, in a cgroup of its own, as every pod has: what `crun run` does when it is not told otherwise.
    WithCgroup,
    /// As root: a range of ids of its own, as every pod of root has.
    OwnRange,
    /// That, and skua's filter of system calls, as far as it does not depend on capabilities.
    OwnRangeAndFilter,
}

/// skua's filter in the form of containers' tools.
const FILTER: &str = include_str!("../../../../../dist/seccomp.json");

/// The first host id of the range, and how many there are.
const RANGE: (u32, u32) = (1_000_000_000, 65536);

/// crun, without a cgroup manager unless the sandbox is to have one.
pub(crate) fn crun(
    root: &Path,
    caller: &Caller,
    argv: &[&str],
    sandbox: Sandbox,
) -> Result<Contender, Failure> {
    let bundle = caller.home.join(format!("bundle-{sandbox:?}"));
    fs::create_dir(&bundle)?;
    copy_root(root, caller, &format!("bundle-{sandbox:?}/rootfs"))?;
    let mut spec = caller.command("crun");
    spec.arg("spec").current_dir(&bundle);
    if caller.uid != 0 {
        succeed(
            Command::new("chown")
                .arg(format!("{}:{}", caller.uid, caller.gid))
                .arg(&bundle),
        )?;
        spec.arg("--rootless");
    }
    succeed(&mut spec)?;
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    config["process"]["args"] = json!(argv);
    config["process"]["terminal"] = json!(false);
    if matches!(sandbox, Sandbox::OwnRange | Sandbox::OwnRangeAndFilter) {
        own_range(&mut config, &bundle)?;
    }
    if sandbox == Sandbox::OwnRangeAndFilter {
        config["linux"]["seccomp"] = filter()?;
    }
    fs::write(&file, serde_json::to_vec(&config)?)?;
    let (caller, state) = (caller.clone(), caller.home.join("crun-state"));
    let what = match sandbox {
        Sandbox::AsSpecified => "crun --cgroup-manager=disabled run",
        Sandbox::WithCgroup => "crun run",
        Sandbox::OwnRange => "crun with a user namespace",
        Sandbox::OwnRangeAndFilter => "crun with that and a filter",
    };
    Ok(Contender::new(&caller.label(what), move |n| {
        let mut command = caller.command("crun");
        command.arg("--root").arg(&state);
        if sandbox != Sandbox::WithCgroup {
            command.arg("--cgroup-manager=disabled");
        }
        command.args(["run", "--bundle"]).arg(&bundle);
        command.arg(format!("bench-{n}"));
        command
    }))
}

/// Gives a container a user namespace, and its files to the root of that.
fn own_range(config: &mut Value, bundle: &Path) -> Result<(), Failure> {
    let (first, count) = RANGE;
    let map = json!([{"containerID": 0, "hostID": first, "size": count}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    let namespaces = config["linux"]["namespaces"].as_array_mut();
    namespaces
        .ok_or("the specification has no namespaces")?
        .push(json!({"type": "user"}));
    succeed(
        Command::new("chown")
            .args(["-R", &format!("{first}:{first}")])
            .arg(bundle.join("rootfs")),
    )
}

/// The filter as the runtime specification has it: without what only containers' tools know.
fn filter() -> Result<Value, Failure> {
    let mut filter: Value = serde_json::from_str(FILTER)?;
    let fields = filter.as_object_mut().ok_or("the filter is no object")?;
    fields.remove("archMap");
    fields.insert("architectures".to_owned(), json!(["SCMP_ARCH_X86_64"]));
    let rules = fields["syscalls"].as_array_mut();
    let rules = rules.ok_or("the filter has no rules")?;
    rules.retain(|rule| rule["includes"].is_null());
    for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
        rule.retain(|key, _| !matches!(key.as_str(), "comment" | "excludes"));
    }
    Ok(filter)
}

/// bubblewrap with all namespaces.
pub(crate) fn bubblewrap(
    root: &Path,
    caller: &Caller,
    argv: &[&str],
) -> Result<Contender, Failure> {
    let root = copy_root(root, caller, "bwrap-root")?;
    let (caller, argv) = (caller.clone(), owned(argv));
    Ok(Contender::new(
        &caller.label("bwrap --unshare-all"),
        move |_| {
            let mut command = caller.command("bwrap");
            command
                .args(["--unshare-all", "--die-with-parent", "--bind"])
                .arg(&root)
                .arg("/");
            command
                .args(["--proc", "/proc", "--dev", "/dev", "--"])
                .args(&argv);
            command
        },
    ))
}

/// podman with its own storage in the lab, without network, cgroup and health of its own.
pub(crate) fn podman(root: &Path, caller: &Caller, argv: &[&str]) -> Result<Contender, Failure> {
    let storage = caller.home.join("podman");
    let base = {
        let (caller, storage) = (caller.clone(), storage);
        move || {
            let mut command = caller.command("podman");
            command
                .arg("--root")
                .arg(storage.join("root"))
                .arg("--runroot")
                .arg(storage.join("run"));
            command.arg("--tmpdir").arg(storage.join("tmp"));
            command.args([
                "--storage-driver=overlay",
                "--cgroup-manager=cgroupfs",
                "--events-backend=none",
            ]);
            command
        }
    };
    let archive = caller.home.join("podman.tar");
    succeed(
        Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    )?;
    succeed(base().arg("import").arg(&archive).arg("bench"))?;
    let (label, argv) = (caller.label("podman run --network=none"), owned(argv));
    Ok(Contender::new(&label, move |_| {
        let mut command = base();
        command.args(["run", "--rm", "--network=none", "--cgroups=disabled"]);
        command
            .args([
                "--ulimit=nofile=1024:4096",
                "--ulimit=nproc=1024:4096",
                "bench",
            ])
            .args(&argv);
        command
    }))
}

fn owned(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|&a| a.to_owned()).collect()
}

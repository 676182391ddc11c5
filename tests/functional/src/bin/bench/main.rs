//! `make bench`: skua beside its peers, in one run, each figure a ratio. Root only; needs what tests/install installs.
//! `bench launch` and `bench fetch` run one part.

mod fetch;
mod lab;
mod measure;
mod memory;
mod peers;
mod skua;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;

use functional::User;
use lab::{Failure, Lab, succeed};
use measure::{Contender, in_turn, print};
use peers::Sandbox;
use skua::Skua;

/// Rounds of one launch of each contender.
const ROUNDS: usize = 40;
/// Rounds of [`AT_ONCE`] launches.
const ROUNDS_AT_ONCE: usize = 10;
const AT_ONCE: usize = 50;

fn main() -> ExitCode {
    let part = std::env::args().nth(1);
    match bench(part.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(part: Option<&str>) -> Result<(), Failure> {
    if !matches!(part, None | Some("launch" | "fetch")) {
        return Err("the parts are `launch` and `fetch`".into());
    }
    let lab = Lab::new("12G")?;
    if part != Some("fetch") {
        launches(&lab)?;
    }
    if part != Some("launch") {
        fetch::bench(&lab)?;
    }
    Ok(())
}

/// Launches as each kind of caller.
fn launches(lab: &Lab) -> Result<(), Failure> {
    let root = tiny_root(lab)?;
    let programs = skua::install(lab)?;
    for (uid, gid) in [
        User::Caller.ids(),
        User::Subordinate.ids(),
        User::Single.ids(),
    ] {
        let caller = peers::caller(lab, uid, gid)?;
        launch(lab, &root, &programs, &caller)?;
    }
    Ok(())
}

/// `/bin/true` and exit: skua fetched and verified the image before, the others were given a directory.
fn launch(lab: &Lab, root: &Path, programs: &Path, caller: &peers::Caller) -> Result<(), Failure> {
    let argv = ["/bin/true"];
    let skua = Skua::new(root, programs, caller, &argv)?;
    memory::measure(&skua, 10)?;
    let crun = |sandbox| peers::crun(root, caller, &argv, sandbox);
    let mut contenders = vec![crun(Sandbox::AsSpecified)?, skua.run()];
    if caller.uid == 0 {
        // Only root may make a cgroup here.
        contenders.push(in_some_cgroup(lab, crun(Sandbox::WithCgroup)?));
    }
    let at_once = contenders.len();
    contenders.extend([
        skua.unconfined(),
        peers::bubblewrap(root, caller, &argv)?,
        peers::podman(root, caller, &argv)?,
    ]);
    if caller.uid == 0 {
        contenders.push(crun(Sandbox::OwnRange)?);
        contenders.push(crun(Sandbox::OwnRangeAndFilter)?);
    }
    let all: Vec<_> = contenders.iter().collect();
    let base = &all[0].name;
    let title = "launch /bin/true and exit";
    print(title, &in_turn(&all, ROUNDS, 1), base)?;
    let title = format!("{AT_ONCE} at once, until the last has ended");
    let rows = in_turn(&all[..at_once], ROUNDS_AT_ONCE, AT_ONCE);
    print(&title, &rows, base)?;
    Ok(())
}

/// crun bounds its locked memory before it makes a cgroup of version 2, which takes CAP_SYS_RESOURCE: without, it gets one of
/// version 1 where the host has those too.
fn in_some_cgroup(lab: &Lab, crun: Contender) -> Contender {
    match &lab.version_1 {
        Some(view) if crun.time(0, 1).is_err() => crun.seeing(Rc::clone(view), "cgroup v1"),
        _ => crun,
    }
}

/// A root with one static program, so that the launch is measured and not the dynamic linker.
fn tiny_root(lab: &Lab) -> Result<PathBuf, Failure> {
    let root = lab.make("root")?;
    for directory in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        std::fs::create_dir(root.join(directory))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    succeed(
        Command::new("ln")
            .arg("-s")
            .arg("busybox")
            .arg(root.join("bin/true")),
    )?;
    Ok(root)
}

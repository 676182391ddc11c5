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

use functional::User;
use lab::{Failure, Lab, succeed};
use measure::{burst, in_turn, print};
use peers::Sandbox;
use skua::Skua;

const RUNS: usize = 40;

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
        launch(&root, &programs, &caller)?;
    }
    Ok(())
}

/// `/bin/true` and exit: skua fetched and verified the image before, the others were given a directory.
fn launch(root: &Path, programs: &Path, caller: &peers::Caller) -> Result<(), Failure> {
    let argv = ["/bin/true"];
    let skua = Skua::new(root, programs, caller, &argv)?;
    memory::measure(&skua, 10)?;
    let mut contenders = vec![
        peers::crun(root, caller, &argv, Sandbox::AsSpecified)?,
        skua.run(),
        skua.unconfined(),
        peers::bubblewrap(root, caller, &argv)?,
        peers::podman(root, caller, &argv)?,
    ];
    if caller.uid == 0 {
        // Only root may make a cgroup here.
        contenders.insert(2, peers::crun(root, caller, &argv, Sandbox::WithCgroup)?);
        for sandbox in [Sandbox::OwnRange, Sandbox::OwnRangeAndFilter] {
            contenders.push(peers::crun(root, caller, &argv, sandbox)?);
        }
    }
    let base = contenders[0].name.clone();
    print(
        "launch /bin/true and exit",
        &in_turn(&contenders, RUNS),
        &base,
    )?;
    let at_once = if caller.uid == 0 { 3 } else { 2 };
    let bursts: Vec<_> = contenders[..at_once].iter().map(|c| burst(c, 50)).collect();
    print("50 at once, until the last has ended", &bursts, &base)?;
    Ok(())
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

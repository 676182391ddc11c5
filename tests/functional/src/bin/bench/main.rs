//! `make bench`: skua beside its peers, in one run, each figure a ratio.

mod lab;
mod measure;
mod peers;

use std::path::Path;
use std::process::{Command, ExitCode};

use lab::{Failure, Lab, succeed};
use measure::{burst, in_turn, print};

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), Failure> {
    let lab = Lab::new("3G")?;
    let root = tiny_root(&lab)?;
    for uid in [0, 1000] {
        let caller = peers::caller(&lab, uid, uid)?;
        let argv = ["/bin/true"];
        let contenders = [
            peers::crun(&root, &caller, &argv)?,
            peers::bubblewrap(&root, &caller, &argv)?,
            peers::podman(&root, &caller, &argv)?,
        ];
        let base = contenders[0].name.clone();
        print(
            "launch /bin/true and exit",
            &in_turn(&contenders, 20),
            &base,
        )?;
        let bursts: Vec<_> = contenders[..2].iter().map(|c| burst(c, 50)).collect();
        print("50 at once", &bursts, &base)?;
    }
    Ok(())
}

/// A root with one static program, so that the launch is measured and not the dynamic linker.
fn tiny_root(lab: &Lab) -> Result<std::path::PathBuf, Failure> {
    let root = lab.make("root")?;
    for directory in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        std::fs::create_dir(root.join(directory))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    succeed(
        Command::new("ln")
            .arg("-s")
            .arg("busybox")
            .arg(root.join(Path::new("bin/true"))),
    )?;
    Ok(root)
}

//! skua-stage1: builds the sandbox of a pod, waits for its end, undoes. Called by stage0 with the pod's directory as cwd.

mod cgroup;
mod channel;
mod error;
mod files;
mod finish;
mod handover;
mod host;
mod idmap;
mod inroot;
mod inside;
mod netns;
mod network;
mod op;
mod opened;
mod plan;
mod rootfs;
mod run;
mod seccomp;
mod sys;
mod trees;
mod wait;

use std::io::Write;
use std::process::ExitCode;

use error::Error;

fn main() -> ExitCode {
    match dispatch() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skua: stage1: {}", error::joined(&error));
            ExitCode::from(254)
        }
    }
}

fn dispatch() -> Result<u8, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run"] => run::run(),
        _ => Err(Error::Usage),
    }
}

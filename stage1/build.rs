//! Compiles the built-in seccomp profile, `dist/seccomp.json`, with the same code that compiles profiles at run time.
#![allow(
    dead_code,
    reason = "the run-time code is shared, not all of it is needed here"
)]

#[path = "src/seccomp/compiler.rs"]
mod compiler;
#[path = "src/seccomp/profile.rs"]
mod profile;
#[path = "src/seccomp/syscalls.rs"]
mod syscalls;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../dist/seccomp.json");
    println!("cargo::rerun-if-changed=src/seccomp");
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_ARCH")?;
    if target != env::consts::ARCH {
        // The numbers of system calls come from the headers of the machine that builds.
        return Err(format!(
            "cannot make the seccomp filter of {target} on {}",
            env::consts::ARCH
        )
        .into());
    }
    // No capability beyond the default set, and no rule asks for one within it: tests check that.
    let facts = profile::Facts {
        capabilities: &[],
        kernel: (5, 12),
    };
    let policy = profile::parse(&fs::read("../dist/seccomp.json")?, &facts)?;
    let program = compiler::compile(&policy).ok_or("the seccomp profile has too many rules")?;
    let to = PathBuf::from(env::var("OUT_DIR")?).join("seccomp.bpf");
    fs::write(to, compiler::bytes(&program))?;
    Ok(())
}

//! The seccomp filter of an app, as the bytes that stage2 loads: the built-in one or that of a profile.

#[cfg(test)]
mod built_in;
mod compiler;
mod profile;
#[cfg(test)]
mod simulator;
mod syscalls;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nix::sys::utsname::uname;
use pod::{App, Capability, SeccompChoice, small_file};

use crate::error::Error;

pub(crate) use profile::Error as ProfileError;
use profile::Facts;

/// The file beside `app.json` that holds the program.
pub(crate) const FILE: &str = "seccomp.bpf";
/// The most bytes of a profile.
const MAX_PROFILE: u64 = 4 << 20;

/// The text of the built-in profile.
const DEFAULT_PROFILE: &[u8] = include_bytes!("../../dist/seccomp.json");
/// The built-in profile compiled for the default capabilities or fewer, by the build script.
const DEFAULT_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seccomp.bpf"));

/// The program of an app; none when it is unconfined.
pub(crate) fn program(app: &App) -> Result<Option<Cow<'static, [u8]>>, Error> {
    let refused = |path: &str, error| Error::Profile(app.name.clone(), path.to_owned(), error);
    let program = match &app.seccomp {
        SeccompChoice::Unconfined => return Ok(None),
        SeccompChoice::Default => {
            default_program(&app.capabilities).map_err(|e| refused("default", e))?
        }
        SeccompChoice::Profile { path } => {
            let json = read(path).map_err(|e| Error::ReadProfile(path.into(), e))?;
            let program = compile_profile(&json, &app.capabilities);
            Cow::Owned(program.map_err(|e| refused(path, e))?)
        }
    };
    Ok(Some(program))
}

/// A profile as it is written. Nothing is waited for: until the pod has a pid, nobody can stop the keeper.
fn read(path: &str) -> io::Result<Vec<u8>> {
    small_file::bytes(small_file::open(Path::new(path))?, MAX_PROFILE)
}

/// The names of all system calls that are known, by number.
pub(crate) fn names() -> BTreeMap<u32, &'static str> {
    syscalls::all()
        .map(|(name, number)| (number, name))
        .collect()
}

/// The built-in filter of an app with these capabilities. Only those beyond the default set make a difference.
pub(crate) fn default_program(
    capabilities: &[Capability],
) -> Result<Cow<'static, [u8]>, ProfileError> {
    let beyond = Capability::mask(capabilities) & !Capability::mask(Capability::DEFAULT);
    if beyond == 0 {
        return Ok(Cow::Borrowed(DEFAULT_PROGRAM));
    }
    compile_profile(DEFAULT_PROFILE, capabilities).map(Cow::Owned)
}

/// The filter of a profile for an app with these capabilities.
pub(crate) fn compile_profile(
    json: &[u8],
    capabilities: &[Capability],
) -> Result<Vec<u8>, ProfileError> {
    let capabilities: Vec<_> = capabilities.iter().map(|c| c.name()).collect();
    let facts = Facts {
        capabilities: &capabilities,
        kernel: kernel(),
    };
    let policy = profile::parse(json, &facts)?;
    let program = compiler::compile(&policy).ok_or(ProfileError::TooLong)?;
    Ok(compiler::bytes(&program))
}

/// Major and minor version of the running kernel; of one whose name has no version, 0.
fn kernel() -> (u32, u32) {
    let version = |release: &str| {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    uname()
        .ok()
        .and_then(|system| version(system.release().to_str()?))
        .unwrap_or((0, 0))
}

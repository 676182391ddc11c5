//! The files of the pod directory that stage1 makes before the pod starts.
//!
//! **Runs as** the keeper. **Needs** the plan. **Leaves** `apps/`, `status/`, `rootfs/`, `volumes/`, `net/` with the owners
//! that the pod needs. **Undone by** the removal of the pod.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use pod::{PodDir, PodManifest, ProcessId, Running};

use crate::device;
use crate::error::Error;
use crate::finish::Leftovers;
use crate::host;
use crate::plan::{Opener, Owner, Plan};
use crate::seccomp;

/// Makes the directories of the plan.
pub(crate) fn make_directories(pod: &PodDir, plan: &Plan) -> Result<(), Error> {
    let pods = match plan.opener {
        Opener::Keeper { pod_base, .. } => Some(pod_base),
        Opener::Inside => None,
    };
    plan.keeper.directories.iter().try_for_each(|directory| {
        let owner = match directory.owner {
            Owner::Keeper => None,
            Owner::Pod => pods,
        };
        make(&pod.path().join(&directory.path), directory.mode, owner)
    })?;
    if let Opener::Keeper { .. } = plan.opener {
        device::make_nodes(pod, &plan.keeper.nodes)?;
    }
    Ok(())
}

fn make(path: &Path, mode: u32, owner: Option<u32>) -> Result<(), Error> {
    let made = DirBuilder::new().mode(mode & 0o777).create(path);
    let made = made.and_then(|()| {
        if mode & !0o755 == 0 {
            Ok(())
        } else {
            set_mode(path, mode)
        }
    });
    let owned = made.and_then(|()| owner.map_or(Ok(()), |id| chown(path, Some(id), Some(id))));
    owned.map_err(|e| Error::PodFile(path.to_owned(), e))
}

/// For what the umask would have taken away.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Writes what stage2 reads: `app.json` and the seccomp filter of every app.
pub(crate) fn write_apps(pod: &PodDir, manifest: &PodManifest, plan: &Plan) -> Result<(), Error> {
    for (app, file) in manifest.apps.iter().zip(&plan.apps) {
        let path = pod.app(&app.name);
        // Nobody looks for it before the inside is stage2.
        let written = pod::to_bytes(file).and_then(|bytes| fs::write(&path, bytes));
        written.map_err(|e| Error::PodFile(path.clone(), e))?;
        if let Some(program) = seccomp::program(app)? {
            let path = path.with_file_name(seccomp::FILE);
            fs::write(&path, program).map_err(|e| Error::PodFile(path, e))?;
        }
    }
    if std::env::var_os(pod::DEBUG_VARIABLE).is_some() {
        let path = pod.apps().join(pod::SYSTEM_CALLS);
        let names = serde_json::to_vec(&seccomp::names()).map_err(io::Error::other);
        let written = names.and_then(|names| fs::write(&path, names));
        written.map_err(|e| Error::PodFile(path, e))?;
    }
    Ok(())
}

/// Writes `pid`: from now on others find the pod.
pub(crate) fn write_pid(
    pod: &PodDir,
    plan: &Plan,
    left: &Leftovers,
    child: u32,
) -> Result<(), Error> {
    let identity = |pid| -> Result<ProcessId, Error> {
        Ok(ProcessId {
            pid,
            start_time: host::start_time(pid)?,
        })
    };
    let running = Running {
        version: pod::CONTRACT_VERSION,
        boot_id: host::boot_id()?,
        keeper: identity(std::process::id())?,
        pod: identity(child)?,
        started: left.started,
        limits: left.limits.clone(),
        id_map: plan.id_map.clone(),
    };
    Ok(pod::save(&pod.pid(), &running)?)
}

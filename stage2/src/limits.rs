//! Resource limits, file mode mask and nice value of an app.
//!
//! **Runs as** the pod's user 0, who has no power over limits: that belongs to the host's namespace.
//! **Needs** nothing. **Leaves** limits and mask of this process. **Undone by** nothing: exec follows.

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use pod::AppFile;

use crate::error::Error;
use crate::{sys, verify};

/// Sets every limit that the app file names, or fails.
pub(crate) fn set(app: &AppFile) -> Result<(), Error> {
    umask(Mode::from_bits_truncate(app.process.umask));
    if let Some(nice) = app.process.nice {
        let failed = |e| Error::Nice(nice, e);
        sys::set_nice(nice).map_err(failed)?;
        verify::compare("the nice value", nice, sys::nice().map_err(failed)?)?;
    }
    for limit in &app.rlimits {
        let name = &limit.resource;
        let resource = resource(name).ok_or_else(|| Error::UnknownLimit(name.clone()))?;
        let soft = limit.soft.unwrap_or(RLIM_INFINITY);
        let hard = limit.hard.unwrap_or(RLIM_INFINITY);
        setrlimit(resource, soft, hard).map_err(|e| Error::Limit(name.clone(), e))?;
    }
    Ok(())
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

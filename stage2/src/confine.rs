//! Confinement of an app: credentials, capabilities, no_new_privs, Landlock, seccomp, and the proof that they hold.
//!
//! **Runs as** the pod's user 0 with all capabilities in the pod's user namespace, the app's root entered.
//! **Needs** the identity resolved, the surroundings verified; everything that needs power done.
//! **Leaves** a process that has what the app file grants and nothing else, read back from the kernel.
//! **Undone by** nothing: none of this can be undone, which is the point.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use pod::{AppFile, Capability};

use crate::capability::{self, Plan};
use crate::error::Error;
use crate::root::Root;
use crate::user::{self, Identity};
use crate::watch::{self, Names};
use crate::{domain, nest, procfs, sys, verify};

/// Proof of confinement. Only [`to`] makes one, and exec takes it.
pub(crate) struct Confined {
    /// Who the app is.
    pub(crate) identity: Identity,
}

/// The seccomp filter of an app.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    /// The program; absent: no filter.
    pub(crate) program: Option<&'a [libc::sock_filter]>,
    /// Say what it refuses; the names are those of system calls.
    pub(crate) watch: Option<&'a Names>,
}

/// Confines this process. The order matters: what comes later needs the rights that remain, and takes them.
pub(crate) fn to(
    app: &AppFile,
    filter: Filter<'_>,
    root: &Root,
    proc: &OwnedFd,
    identity: Identity,
) -> Result<Confined, Error> {
    procfs::set(app, proc)?;
    nest::enter(proc, &app.id_map, &identity)?;
    let status = verify::open_status(proc)?;
    let plan = Plan::new(app, &identity);
    capability::bound(plan)?;
    credentials(app, &identity)?;
    keyring()?;
    if app.no_new_privileges {
        prctl::set_no_new_privs().map_err(Error::NoNewPrivileges)?;
        capability::set(plan, &[])?;
        domain::enter(&app.landlock, root)?;
        install(app, filter)?;
    } else {
        // Landlock and seccomp want CAP_SYS_ADMIN then, so it goes last and the filter must allow that.
        capability::set(plan, &[Capability::SysAdmin])?;
        domain::enter(&app.landlock, root)?;
        install(app, filter)?;
        capability::set(plan, &[])?;
    }
    verify::process(app, filter.program.is_some(), status, plan, &identity)?;
    Ok(Confined { identity })
}

/// Groups, group, user. Permitted capabilities are kept over the change of user: the next step cuts them to size.
fn credentials(app: &AppFile, identity: &Identity) -> Result<(), Error> {
    prctl::set_keepcaps(true).map_err(|e| Error::Credentials("securebits", e))?;
    if !user::single(&app.id_map) {
        let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(|e| Error::Credentials("groups", e))?;
    }
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    setresgid(gid, gid, gid).map_err(|e| Error::Credentials("group", e))?;
    setresuid(uid, uid, uid).map_err(|e| Error::Credentials("user", e))?;
    prctl::set_keepcaps(false).map_err(|e| Error::Credentials("securebits", e))
}

/// A session keyring of the app's own. A kernel without keys has none to share.
fn keyring() -> Result<(), Error> {
    match sys::join_new_session_keyring() {
        Ok(()) | Err(Errno::ENOSYS) => Ok(()),
        Err(error) => Err(Error::Keyring(error)),
    }
}

fn install(app: &AppFile, filter: Filter<'_>) -> Result<(), Error> {
    match (filter.program, filter.watch) {
        (None, _) => Ok(()),
        (Some(program), None) => sys::install_filter(program).map_err(Error::InstallFilter),
        (Some(program), Some(names)) => watch::install(program, &app.name, names),
    }
}

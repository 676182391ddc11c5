//! The inside: the keeper's child in new namespaces, which builds the pod's root and becomes stage2.
//!
//! **Runs as** root of the pod's user namespace, still seeing the host's files until the pivot. **Needs** from the keeper,
//! over a socket pair: a byte when the id maps are written, another when the pod's files and cgroups are there, or as root with
//! the mounts that only the keeper may make, the host's files when the network is there. **Leaves** stage2 as pid 1, and a
//! child that builds its root; the socket closes when both are done, before that it carries the terminal, or one message that
//! says what failed. **Undone by** its end.
//!
//! It makes its namespaces itself, as root of the user namespace that it was cloned into: meanwhile the keeper makes the
//! pod's files and opens its mounts.

use std::convert::Infallible;
use std::io::{ErrorKind, PipeWriter, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, close, setgroups, setresgid, setresuid};

use pod::{IdMap, Locked};

use crate::cgroup::Cgroup;
use crate::channel::{self, Channel};
use crate::credentials::Credentials;
use crate::error::{self, Error};
use crate::given::Given;
use crate::handover::{self, Ends, Root};
use crate::netns;
use crate::op::{Op, Step};
use crate::owner;
use crate::plan::{Namespaces, Opener, Plan};
use crate::rootfs::{Builder, HostFiles};
use crate::sys::{self, Child, Cloned, Program};
use crate::trees::{self, Trees};
use crate::wait;

/// The keeper's hold on the inside.
#[derive(Debug)]
pub(crate) struct Inside {
    /// The process, which stays the same when it becomes stage2.
    pub(crate) child: Child,
    channel: Channel,
    /// Held for the keeper's life: when it is closed, stage2 knows that the keeper is gone.
    _life: PipeWriter,
}

/// Clones the inside into new user and pid namespaces, owned as planned, and into `cgroup`. To `started` stage2 says when the apps are executed.
/// What is `given` is the inside's alone, and the lock of the pod the keeper's.
pub(crate) fn spawn(
    plan: &Plan,
    stage2: &Path,
    cgroup: Option<&Cgroup>,
    started: Option<OwnedFd>,
    given: Given,
    locked: &Locked,
) -> Result<Inside, Error> {
    let (ours, theirs) = channel::pair(handover::first_free(cgroup, &given.sockets))?;
    let (keeper, life) = pipe().map_err(Error::Channel)?;
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWPID;
    let directory = cgroup.map(|cgroup| cgroup.directory.as_fd());
    let clone = || sys::clone3(namespaces, directory);
    match owner::clone_as(plan.keeper.owner, clone)? {
        Cloned::Parent(child) => Ok(Inside {
            child,
            channel: ours,
            _life: life,
        }),
        Cloned::Child => {
            drop((ours, life));
            // Once only: this process never comes to the end of what it has borrowed.
            let _ = close(locked.lock.as_raw_fd());
            let credentials = given.credentials.into();
            let ends = Ends {
                keeper: keeper.into(),
                started,
                cgroup,
                sockets: given.sockets,
            };
            let Err(error) = live(plan, stage2, &theirs, &ends, credentials);
            fail(&theirs, &error)
        }
    }
}

/// Leaves the session and the process group of the keeper. What a terminal or a shell sends to all of that group, the keeper
/// passes on: who got it both ways would take one `^C` for two.
fn leave_session() -> Result<(), Error> {
    let made = nix::unistd::setsid();
    made.map(drop).map_err(|e| Error::Session(e.into()))
}

/// Leaves the namespaces of the keeper: all but those of [`spawn`]. The cgroup namespace must be made here: the root of one
/// that comes with a clone is the cgroup of the parent.
fn separate(namespaces: Namespaces) -> Result<(), Error> {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    let new = match namespaces {
        Namespaces::All => all | CloneFlags::CLONE_NEWNET,
        Namespaces::AllButNetwork => all,
    };
    unshare(new).map_err(|e| Error::Separate(e.into()))
}

impl Inside {
    /// Tells the inside that its id maps are written.
    pub(crate) fn mapped(&self) -> Result<(), Error> {
        self.channel.send_go_on()
    }

    /// Lets the inside go on, with the mounts that it may not make itself, if the keeper has opened any.
    pub(crate) fn give(&self, trees: Option<Trees>) -> Result<(), Error> {
        match trees {
            Some(trees) => self.channel.send_mounts(&Vec::from(trees)),
            None => self.channel.send_go_on(),
        }
    }

    /// Waits until the inside is in namespaces of its own: before that, a look through its pid finds the keeper's. That of the
    /// network comes back, if networks are to be joined.
    pub(crate) fn separate(&self) -> Result<Option<OwnedFd>, Error> {
        self.channel.receive_separate()
    }

    /// Gives the inside the host's files, and waits until it is stage2. With a terminal, its master comes back.
    pub(crate) fn release(&self, files: &HostFiles) -> Result<Option<OwnedFd>, Error> {
        let sent = self.channel.send_files(files);
        let terminal = self.channel.receive_all()?.pop();
        sent.map(|()| terminal)
    }
}

impl Drop for Inside {
    /// When the keeper fails half-way, nothing of the pod may live on. After the pod's end this does nothing.
    fn drop(&mut self) {
        if sys::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL).is_ok() {
            // Its end is what counts, not how.
            let _ = wait::reap(&self.child);
        }
    }
}

/// The life of the inside. Ends in exec or in an error.
fn live(
    plan: &Plan,
    stage2: &Path,
    channel: &Channel,
    ends: &Ends<'_>,
    credentials: Credentials,
) -> Result<Infallible, Error> {
    leave_session()?;
    separate(plan.namespaces)?;
    channel.send_separate(netns::own(plan)?.as_ref().map(AsFd::as_fd))?;
    channel.receive_go_on()?;
    become_root(&plan.id_map)?;
    still_kept(ends.keeper.as_fd())?;
    let mut builder = Builder::new(credentials);
    let (first, mounting) = plan.steps_around(&Op::Staging);
    carry_out(plan, first, &mut builder)?;
    builder.take(mounts(plan, stage2, channel)?);
    if plan.has_terminal() {
        let terminal = build(plan, mounting, &mut builder, channel)?;
        let program = stage2_of(plan, &builder, ends, Root::Built(terminal.as_ref()))?;
        return Err(Error::ExecStage2(program.execute()));
    }
    let program = stage2_of(plan, &builder, ends, Root::BuiltBeside)?;
    let build = || built(plan, mounting, &mut builder, channel);
    let failed = |errno| channel.send_errno("cannot execute stage2", errno);
    let executed = program.execute_beside(c"/", build, failed);
    executed.map_err(Error::ExecStage2)
}

fn stage2_of(
    plan: &Plan,
    builder: &Builder,
    ends: &Ends<'_>,
    root: Root<'_>,
) -> Result<Program, Error> {
    let handed = builder.handed.as_ref().ok_or(Error::NothingHanded)?;
    handover::stage2(plan, handed, ends, root)
}

fn carry_out(plan: &Plan, steps: &[Step], builder: &mut Builder) -> Result<(), Error> {
    steps.iter().try_for_each(|Step { op, .. }| {
        let done = builder.step(op);
        done.map_err(|e| Error::Step(plan.said(op), e))
    })
}

/// Builds the root of pid 1, and fills it with the host's files as soon as they are known. A terminal becomes the standard
/// streams of stage2.
fn build(
    plan: &Plan,
    steps: &[Step],
    builder: &mut Builder,
    channel: &Channel,
) -> Result<Option<OwnedFd>, Error> {
    carry_out(plan, steps, builder)?;
    let files = channel.receive_files()?;
    builder.fill(&files).map_err(Error::HostFiles)?;
    hand_over_terminal(builder, channel)
}

/// The same in a child, so that stage2 can start meanwhile; it waits for the child before it starts an app. `pivot_root`
/// changes the root of every process that has the old one, so pid 1 must hold on to nothing else (`pivot_root(2)`).
fn built(plan: &Plan, steps: &[Step], builder: &mut Builder, channel: &Channel) -> u8 {
    match build(plan, steps, builder, channel) {
        Ok(_) => 0,
        Err(error) => fail(channel, &error),
    }
}

/// Tells the keeper, and ends.
fn fail(channel: &Channel, error: &Error) -> ! {
    channel.send_failure(&error::joined(error));
    sys::exit_now(254)
}

/// What the keeper has opened, or what only the inside may open, as soon as the keeper has made what it is to make.
fn mounts(plan: &Plan, stage2: &Path, channel: &Channel) -> Result<Trees, Error> {
    match plan.opener {
        Opener::Keeper { .. } => {
            let count = plan.trees.len() + trees::HANDED;
            let mounts = channel.receive_mounts(count)?;
            Trees::try_from(mounts).map_err(|()| Error::Channel(ErrorKind::InvalidData.into()))
        }
        Opener::Inside => {
            channel.receive_go_on()?;
            trees::open(plan, stage2)
        }
    }
}

/// Fails when the keeper was gone before its end would have killed this process: another command may be at the pod already.
fn still_kept(keeper: BorrowedFd<'_>) -> Result<(), Error> {
    let mut hangs_up = [PollFd::new(keeper, PollFlags::empty())];
    match poll(&mut hangs_up, PollTimeout::ZERO) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::Channel(ErrorKind::BrokenPipe.into())),
        Err(e) => Err(Error::Channel(e.into())),
    }
}

/// Root of the pod, without the caller's groups where the kernel lets them go, and killed as soon as the keeper is gone.
/// If it was gone before that, [`still_kept`] finds out, or [`Channel::receive_files`].
pub(crate) fn become_root(map: &IdMap) -> Result<(), Error> {
    let become_root = || {
        if map.gids.iter().map(|extent| extent.count).sum::<u32>() > 1 {
            setgroups(&[])?;
        }
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        prctl::set_pdeathsig(Signal::SIGKILL)
    };
    become_root().map_err(|e| Error::BecomeRoot(e.into()))
}

fn hand_over_terminal(builder: &mut Builder, channel: &Channel) -> Result<Option<OwnedFd>, Error> {
    let Some(terminal) = builder.terminal.take() else {
        return Ok(None);
    };
    channel.send_descriptor(terminal.master.as_fd())?;
    Ok(Some(terminal.slave))
}

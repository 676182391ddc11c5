//! The keeper: outside the pod, as the caller. Every line is a phase; a phase is a file.

use std::os::fd::AsFd;

use nix::sys::stat::{Mode, umask};

use pod::State;
use pod::policy::Policy;

use crate::cgroup;
use crate::error::Error;
use crate::finish::{self, Leftovers};
use crate::given::Given;
use crate::host::Host;
use crate::idmap;
use crate::inside;
use crate::netns::Netns;
use crate::network::Networks;
use crate::notify::Notify;
use crate::opened::Opened;
use crate::outlet::Outlets;
use crate::plan::Plan;
use crate::signals::Signals;
use crate::wait::{self, Ended};
use crate::{files, labels, netns, skeleton, streams, trees};

/// Runs the pod of the working directory to its end, and gives its exit status.
pub(crate) fn run() -> Result<u8, Error> {
    umask(Mode::from_bits_truncate(0o022));
    let signals = Signals::block()?;
    let host = Host::probe()?;
    let opened = Opened::take(&host, State::Run)?;
    let (mut left, mut notify) = (Leftovers::begin(), Notify::of_environment());
    let ended = sandbox(&host, &opened, &signals, &mut left, &mut notify);
    notify.stopping("the pod has ended; what it leaves is undone");
    finish::all(opened, left, ended)
}

/// From nothing to the end of the pod. What it leaves outside the pod directory is in `left`, also when it fails.
fn sandbox(
    host: &Host,
    opened: &Opened,
    signals: &Signals,
    left: &mut Leftovers,
    notify: &mut Notify,
) -> Result<Ended, Error> {
    streams::check()?;
    let pod = &opened.dir;
    let manifest = &streams::fulfilled(&opened.manifest);
    let given = Given::take(manifest)?;
    let ids = idmap::allocate(&manifest.id_map, &manifest.id)?;
    let mut plan = Plan::new(manifest, &ids.map)?.within(Policy::of_host()?, manifest)?;
    labels::check(manifest)?;
    let placement = cgroup::placement(&plan.limits, manifest)?;
    left.limits = placement.record();
    plan.bound_processes(placement.processes());
    plan.watch(notify.watchdog());
    let networks = Networks::load(manifest)?;
    skeleton::ensure(&host.data, &manifest.id_map)?;
    left.cgroup = cgroup::make(pod, &manifest.id, &placement)?;
    let started = notify.expect(manifest)?;
    let mut outlets = match plan.has_terminal() {
        true => Outlets::default(),
        false => Outlets::open()?,
    };
    let inside = inside::spawn(
        &plan,
        &host.stage2,
        left.cgroup.as_ref(),
        started,
        given,
        &opened.locked,
    )?;
    outlets.take_back()?;
    files::make_directories(pod, &plan)?;
    idmap::write(&plan.keeper.map_writer, &plan.id_map, inside.child.pid)?;
    inside.mapped()?;
    let trees = trees::open_as_keeper(&plan, &host.stage2)?;
    files::write_apps(pod, manifest, &plan)?;
    left.netns = inside.separate()?.map(Netns::hold);
    cgroup::divide(left.cgroup.as_ref(), inside.child.pid)?;
    inside.give(trees)?;
    files::write_pid(pod, &plan, left, inside.child.pid)?;
    streams::let_apps_open_pipes_again();
    left.ports = networks.hold_ports()?;
    let to_end = Signals::asking_to_end()?;
    let joined = networks.add(pod, left.netns_path(), Some(to_end.as_fd()))?;
    let terminal = inside.release(&netns::host_files(manifest, &joined))?;
    let pod = inside.child.pidfd.as_fd();
    wait::to_end(&inside.child, pod, signals, terminal, outlets, Some(notify))
}

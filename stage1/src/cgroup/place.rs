//! The decision: where the cgroup of a pod will be, or why its limits cannot be had. Pure.
//!
//! Version 2 lets a cgroup pass controllers on only while no process is in it, and systemd lets others write only below a
//! unit that it has delegated. So there are two places: beside our own cgroup, when the delegated one is empty, and beside
//! a leaf to which the keeper moves, when it is alone in the delegated one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pod::{LimitsBy, LimitsRecord};

use super::settings::{Controller, PROCESSES, Setting, Settings};
use super::weights::Weighers;
use crate::error::Error;

/// What the host offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Version 2, if it is mounted.
    pub(crate) hierarchy: Option<Hierarchy>,
    /// What shares out the time of the pod's disks by weight; looked for when a weight was asked for.
    pub(crate) weighers: Option<Result<Weighers, NoLimits>>,
    /// The hard limit of `RLIMIT_NPROC` of the keeper, if there is one.
    pub(crate) most_processes: Option<u64>,
}

/// The mounted cgroups of version 2.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    /// Our own cgroup.
    pub(crate) own: PathBuf,
    /// We may make cgroups in our own.
    pub(crate) writable: bool,
    /// The controllers of the whole hierarchy.
    pub(crate) controllers: BTreeSet<Controller>,
    /// What is ours to manage.
    pub(crate) domain: Result<Domain, NoLimits>,
}

/// The part of the hierarchy that is ours.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    /// Its uppermost cgroup.
    pub(crate) top: PathBuf,
    /// Controllers that it has.
    pub(crate) controllers: BTreeSet<Controller>,
    /// A process in `top` itself that is not ours.
    pub(crate) other: Option<u32>,
    /// `top` is the root of the whole hierarchy, which may have processes.
    pub(crate) root: bool,
    /// The kernel counts swap.
    pub(crate) swap: bool,
}

/// Why limits cannot be had here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLimits {
    #[error("no cgroups of version 2 are mounted here")]
    NoHierarchy,
    #[error("the cgroups of version 2 have no controller {0} on this host")]
    NoController(&'static str),
    #[error("cgroup {0} belongs to systemd, which has not delegated it")]
    NotDelegated(PathBuf),
    #[error("this user may not make cgroups in {0}")]
    Forbidden(PathBuf),
    #[error("controller {1} is not passed on to cgroup {0}")]
    Withheld(PathBuf, &'static str),
    #[error("process {1} is in cgroup {0} beside skua: the kernel then allows no limits below it")]
    Occupied(PathBuf, u32),
    #[error(
        "{0} does not share its time out by weight: neither io.cost nor the scheduler bfq is in force on it"
    )]
    Unweighed(String),
}

/// The remedy when a cgroup of our own is needed.
const OWN_SCOPE: &str = "give the pod a cgroup: `Delegate=yes` in its unit, or `systemd-run --scope --property=Delegate=yes skua …`, \
                         with `--user` for an ordinary user; `--insecure-options=limits` runs it without";

impl NoLimits {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoHierarchy | Self::NoController(_) => {
                "boot with cgroups of version 2 only (kernel parameter systemd.unified_cgroup_hierarchy=1), or run without: \
                 `--insecure-options=limits`"
            }
            Self::NotDelegated(_) | Self::Forbidden(_) | Self::Occupied(..) => OWN_SCOPE,
            Self::Unweighed(_) => {
                "as root `echo bfq > /sys/block/DISK/queue/scheduler`, or io.cost.qos of the root cgroup; \
                 `--insecure-options=limits` runs it without limits"
            }
            Self::Withheld(..) => {
                "delegate it: `Delegate=yes` in the unit, for ordinary users also in user@.service (`systemctl edit user@.service`)"
            }
        }
    }
}

/// Where a pod will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// In a cgroup that limits nothing, below this one; or in none.
    Plain {
        /// Where cgroups can be made.
        parent: Option<PathBuf>,
        /// Why not in one that limits.
        why: Option<NoLimits>,
        /// Limits were asked for, and given up with `--insecure-options=limits`.
        given_up: bool,
        /// What `RLIMIT_NPROC` bounds the apps to instead.
        processes: Option<u64>,
    },
    /// In one that limits.
    Limited(Limited),
}

/// The place of a pod with limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// The cgroup in which the pod's is made, and whose controllers are passed on.
    pub(crate) parent: PathBuf,
    /// The keeper moves to a leaf below it first.
    pub(crate) keeper_moves: bool,
    /// What is written.
    pub(crate) settings: Settings,
}

impl Placement {
    /// Decides. Limits that were asked for and cannot be had are an error, unless they may be given up.
    pub(crate) fn new(
        settings: &Settings,
        facts: &Facts,
        may_give_up: bool,
    ) -> Result<Self, Error> {
        if settings.controllers().is_empty() {
            return Ok(Self::plain(facts, None, false, None));
        }
        let why = match Limited::new(settings, facts) {
            Ok(limited) => return Ok(Self::Limited(limited)),
            Err(why) => why,
        };
        let asked = match why {
            NoLimits::Unweighed(_) => settings.first(Setting::is_io_weight),
            _ => settings.first_asked(),
        };
        let given_up = asked.is_some();
        if let Some(what) = asked
            && !may_give_up
        {
            return Err(Error::Limits(what, why));
        }
        let bounded = settings.pod.iter().any(|one| one.file == "pids.max");
        let most = facts.most_processes.unwrap_or(PROCESSES).min(PROCESSES);
        let processes = bounded.then_some(most);
        Ok(Self::plain(facts, Some(why), given_up, processes))
    }

    /// How the pod's limits are enforced, for its record.
    pub(crate) fn record(&self) -> LimitsRecord {
        let (by, why) = match self {
            Self::Limited(_) => (LimitsBy::Cgroup, None),
            Self::Plain {
                processes: Some(_),
                given_up: false,
                why,
                ..
            } => (LimitsBy::Rlimit, why.as_ref()),
            Self::Plain { why, .. } => (LimitsBy::Nothing, why.as_ref()),
        };
        LimitsRecord {
            by,
            reason: why.map(ToString::to_string),
        }
    }

    /// What `RLIMIT_NPROC` is to bound apps to.
    pub(crate) fn processes(&self) -> Option<u64> {
        match self {
            Self::Limited(_) => None,
            Self::Plain { processes, .. } => *processes,
        }
    }

    fn plain(facts: &Facts, why: Option<NoLimits>, given_up: bool, processes: Option<u64>) -> Self {
        let hierarchy = facts.hierarchy.as_ref();
        let parent = hierarchy.filter(|found| found.writable);
        Self::Plain {
            parent: parent.map(|found| found.own.clone()),
            why,
            given_up,
            processes,
        }
    }
}

impl Limited {
    fn new(settings: &Settings, facts: &Facts) -> Result<Self, NoLimits> {
        let needed = settings.controllers();
        let missing = |from: &BTreeSet<Controller>| {
            let first = needed.difference(from).next();
            first.map(|controller| controller.name())
        };
        let hierarchy = facts.hierarchy.as_ref().ok_or(NoLimits::NoHierarchy)?;
        if let Some(name) = missing(&hierarchy.controllers) {
            return Err(NoLimits::NoController(name));
        }
        let domain = hierarchy.domain.clone()?;
        if let Some(name) = missing(&domain.controllers) {
            return Err(NoLimits::Withheld(domain.top, name));
        }
        if let (Some(pid), false) = (domain.other, domain.root) {
            return Err(NoLimits::Occupied(domain.top, pid));
        }
        let mut settings = settings.clone();
        if let Some(weighers) = &facts.weighers {
            settings = settings.weighed(weighers.clone()?);
        }
        Ok(Self {
            keeper_moves: hierarchy.own == domain.top && !domain.root,
            settings: if domain.swap {
                settings
            } else {
                settings.without_swap()
            },
            parent: domain.top,
        })
    }
}

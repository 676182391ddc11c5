//! The decision: the limits of a pod as files of its cgroup and what they will say. Pure.

use std::collections::BTreeSet;
use std::fmt;

use pod::amount::all_rates;
use pod::{AppName, IoMax, Limits, PidsLimit, PodManifest};

use super::weights::Weighers;
use crate::op::Origin;

/// The processes and threads of a pod for which no number was given.
pub(crate) const PROCESSES: u64 = 4096;

/// The file of `io.cost`, as which a share of disks is known until it is clear what enforces it.
const IO_WEIGHT: &str = "io.weight";

/// All limits of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// In the cgroup of the pod.
    pub(crate) pod: Vec<Setting>,
    /// In the cgroup of each app, in manifest order.
    pub(crate) apps: Vec<(AppName, Vec<Setting>)>,
}

/// One file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) file: &'static str,
    /// What is written to it.
    pub(crate) value: String,
    /// A share of the time of disks, as the manifest has it.
    share: Option<u32>,
    /// Who asked for it.
    pub(crate) origin: Origin,
}

/// A controller of cgroup version 2 that limits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    /// Processor time.
    Cpu,
    /// Which processors and memory nodes.
    Cpuset,
    /// Block devices.
    Io,
    /// Memory and swap.
    Memory,
    /// Processes.
    Pids,
}

impl Controller {
    const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Io, Self::Memory, Self::Pids];

    /// The kernel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Io => "io",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// Those of a file `cgroup.controllers`.
    pub(crate) fn parse(list: &str) -> BTreeSet<Self> {
        let one = |name: &str| Self::ALL.into_iter().find(|one| one.name() == name);
        list.split_whitespace().filter_map(one).collect()
    }
}

impl Setting {
    fn asked(file: &'static str, value: impl ToString) -> Self {
        Self {
            file,
            value: value.to_string(),
            share: None,
            origin: Origin::CommandLine,
        }
    }

    /// A share of the time of disks.
    fn share(weight: u32) -> Self {
        Self {
            share: Some(weight),
            ..Self::asked(IO_WEIGHT, format_args!("default {weight}"))
        }
    }

    fn built_in(file: &'static str, value: impl ToString) -> Self {
        Self {
            file,
            value: value.to_string(),
            share: None,
            origin: Origin::BuiltIn,
        }
    }

    /// A share of the time of disks.
    pub(crate) fn is_io_weight(&self) -> bool {
        self.share.is_some()
    }

    /// The controller whose file it is.
    pub(crate) fn controller(&self) -> Option<Controller> {
        let name = self.file.split('.').next();
        Controller::ALL
            .into_iter()
            .find(|controller| Some(controller.name()) == name)
    }
}

impl Settings {
    /// Those of a manifest.
    pub(crate) fn new(manifest: &PodManifest) -> Self {
        let mut pod = settings(&manifest.limits);
        if manifest.limits.pids == PidsLimit::Default {
            pod.push(Setting::built_in("pids.max", PROCESSES));
        }
        let mut apps: Vec<_> = manifest
            .apps
            .iter()
            .map(|app| (app.name.clone(), settings(&app.limits)))
            .collect();
        let memory = |settings: &Vec<Setting>| settings.iter().any(|one| one.file == "memory.max");
        // An app that has used its memory up ends as a whole; stage2 lives, and tells.
        if memory(&pod) || apps.iter().any(|(_, settings)| memory(settings)) {
            for (_, settings) in &mut apps {
                settings.push(Setting::built_in("memory.oom.group", 1));
            }
        }
        Self { pod, apps }
    }

    /// The apps have cgroups of their own.
    pub(crate) fn by_app(&self) -> bool {
        self.apps.iter().any(|(_, settings)| !settings.is_empty())
    }

    /// The first limit that was asked for, in words.
    pub(crate) fn first_asked(&self) -> Option<String> {
        self.first(|one| one.origin != Origin::BuiltIn)
    }

    /// The first one that is so, in words.
    pub(crate) fn first(&self, is: impl Fn(&Setting) -> bool) -> Option<String> {
        let of_pod = self.pod.iter().find(|one| is(one));
        let of_app = || {
            self.apps.iter().find_map(|(app, settings)| {
                let found = settings.iter().find(|one| is(one))?;
                Some(format!("{} of app {app}", found.file))
            })
        };
        let of_pod = of_pod.map(|found| format!("{} of the pod", found.file));
        of_pod.or_else(of_app)
    }

    /// The controllers that the cgroup of the pod needs.
    pub(crate) fn controllers(&self) -> BTreeSet<Controller> {
        let of_pod = self.pod.iter().filter_map(Setting::controller);
        with_what_is_written_later(of_pod.chain(self.app_controllers()).collect())
    }

    /// The controllers that the cgroups of apps need.
    pub(crate) fn app_controllers(&self) -> BTreeSet<Controller> {
        let settings = self.apps.iter().flat_map(|(_, settings)| settings);
        with_what_is_written_later(settings.filter_map(Setting::controller).collect())
    }

    /// With shares of disks in the files of what enforces them.
    pub(crate) fn weighed(mut self, weighers: Weighers) -> Self {
        let share = |one: Setting| -> Vec<Setting> {
            let Some(weight) = one.share else {
                return vec![one];
            };
            let bfq = Setting {
                file: "io.bfq.weight",
                value: format!("default {}", bfq_weight(weight)),
                ..one.clone()
            };
            let both = [(weighers.cost, one), (weighers.bfq, bfq)];
            let both = both.into_iter().filter(|(in_force, _)| *in_force);
            both.map(|(_, setting)| setting).collect()
        };
        self.pod = self.pod.into_iter().flat_map(share).collect();
        for (_, settings) in &mut self.apps {
            *settings = std::mem::take(settings)
                .into_iter()
                .flat_map(share)
                .collect();
        }
        self
    }

    /// Without the bound of swap that nobody asked for: for a kernel that does not count swap.
    pub(crate) fn without_swap(mut self) -> Self {
        let keep = |one: &Setting| one.file != "memory.swap.max" || one.origin != Origin::BuiltIn;
        self.pod.retain(keep);
        for (_, settings) in &mut self.apps {
            settings.retain(keep);
        }
        self
    }
}

/// What is written to disks through the cache is written later and by the kernel: only where memory is accounted too does it know
/// for whom.
fn with_what_is_written_later(mut needed: BTreeSet<Controller>) -> BTreeSet<Controller> {
    if needed.contains(&Controller::Io) {
        needed.insert(Controller::Memory);
    }
    needed
}

/// A weight of `io.weight`, 1 to 10000 and 100 by default, as one of `bfq`: 1 to 1000. As systemd has it. What is beyond the
/// one is beyond the other, and refused by the kernel.
fn bfq_weight(weight: u32) -> u64 {
    match u64::from(weight) {
        low @ ..=100 => low,
        high => 100 + (high - 100) * 900 / 9900,
    }
}

fn settings(limits: &Limits) -> Vec<Setting> {
    let mut list = Vec::new();
    let mut add = |file, value: Option<String>| {
        list.extend(value.map(|value| Setting::asked(file, value)));
    };
    add("memory.max", limits.memory.map(|bytes| bytes.to_string()));
    let high = limits.memory_high.map(|bytes| bytes.to_string());
    add("memory.high", high);
    let swap = limits.memory_swap.map(|bytes| bytes.to_string());
    add("memory.swap.max", swap);
    let quota = limits.cpu_quota;
    let quota = quota.map(|cpu| format!("{} {}", cpu.quota_us, cpu.period_us));
    add("cpu.max", quota);
    add("cpu.weight", limits.cpu_weight.map(|n| n.to_string()));
    add("cpuset.cpus", limits.cpuset_cpus.clone());
    add("cpuset.mems", limits.cpuset_mems.clone());
    if let PidsLimit::Max { count } = limits.pids {
        add("pids.max", Some(count.to_string()));
    }
    for device in &limits.io_max {
        add("io.max", Some(io_max(device)));
    }
    list.extend(limits.io_weight.map(Setting::share));
    if limits.memory.is_some() && limits.memory_swap.is_none() {
        list.push(Setting::built_in("memory.swap.max", 0));
    }
    list
}

fn io_max(device: &IoMax) -> String {
    let mut line = format!("{}:{}", device.major, device.minor);
    for (key, rate) in all_rates(device) {
        line.extend(rate.map(|rate| format!(" {key}={rate}")));
    }
    line
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = |title: &str, settings: &[Setting]| -> fmt::Result {
            if settings.is_empty() {
                return Ok(());
            }
            writeln!(f, "limits of {title}:")?;
            settings.iter().try_for_each(|one| {
                let value = one.value.escape_debug();
                writeln!(f, "  {} {value} [{}]", one.file, one.origin)
            })
        };
        group("the pod", &self.pod)?;
        self.apps
            .iter()
            .try_for_each(|(app, settings)| group(&format!("app {app}"), settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_bfq_is_what_the_manifest_says_and_no_guess() {
        for (asked, expected) in [
            (1, "default 1"),
            (100, "default 100"),
            (101, "default 100"),
            (111, "default 101"),
            (10_000, "default 1000"),
            // Nobody can type it, but somebody can write it into a manifest.
            (u32::MAX, "default 390451663"),
        ] {
            let limits = Limits {
                io_weight: Some(asked),
                ..Limits::default()
            };
            let asked = Settings {
                pod: settings(&limits),
                apps: Vec::new(),
            };
            let bfq = Weighers {
                cost: false,
                bfq: true,
            };
            let weighed = asked.weighed(bfq).pod;
            let shares = weighed.iter().map(|one| (one.file, one.value.as_str()));
            let shares: Vec<_> = shares.filter(|(file, _)| file.starts_with("io")).collect();
            assert_eq!(shares, [("io.bfq.weight", expected)]);
        }
    }
}

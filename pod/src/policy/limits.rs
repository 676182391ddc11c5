//! Bounds of what a pod may use: the most that the flag of the same name may ask for.
//!
//! A pod without that limit is beyond the bound too: nothing is limited that nobody asked for. It is the limit of the pod that
//! must be there, for only that one holds for all that is in the pod. Those of apps hold within it; an app that asks for more
//! than any pod may have is refused as well, except for weights, which count only among the apps of its pod.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;

use super::show::Show;
use super::{Bound, Bounds, Violation};
use crate::amount::{
    Refused, all_rates, bytes_or_none, processes, processors, rates, set, show_bytes,
    show_processes, show_processors, show_rates, weight,
};
use crate::{CpuQuota, IoMax, Limits, PidsLimit};

/// Whose limits are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// The pod's.
    Pod,
    /// Those of the app that is called so.
    App(&'a str),
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod => f.write_str("the pod"),
            Self::App(name) => write!(f, "app {name}"),
        }
    }
}

impl Whose<'_> {
    /// Where the flag stands.
    fn place(self) -> &'static str {
        match self {
            Self::Pod => "before the image",
            Self::App(_) => "after the image",
        }
    }
}

/// A value as a flag takes it; a number may stand without quotes.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a bound is what the flag of its name takes, as a text or a number"
)]
enum Value {
    Whole(u64),
    Number(f64),
    Text(String),
}

impl From<Value> for String {
    fn from(written: Value) -> Self {
        match written {
            Value::Whole(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
        }
    }
}

/// The most of something.
trait Most {
    /// What a manifest has.
    type Asked;
    /// What is less than the bound.
    const LESS: &'static str = "less";
    fn allows(&self, asked: &Self::Asked) -> bool;
    /// What was asked for, as it is typed.
    fn typed(asked: &Self::Asked) -> String;
    /// The bound, as it is typed.
    fn most(&self) -> String;
}

impl<T: Most> Show for T {
    fn show(&self) -> String {
        format!("at most {}", self.most())
    }
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident($field:ty) from $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(try_from = "Value")]
        pub(super) struct $name($field);

        impl TryFrom<Value> for $name {
            type Error = Refused;
            fn try_from(written: Value) -> Result<Self, Refused> {
                let parse: fn(&str) -> Result<$field, Refused> = $parse;
                parse(&String::from(written)).map(Self)
            }
        }
    };
}

amount! {
    /// Of memory or of swap.
    Bytes(u64) from bytes_or_none
}
amount! {
    /// Processor time.
    Processors(CpuQuota) from processors
}
amount! {
    /// A share.
    Weight(u32) from weight
}
amount! {
    /// Processes and threads.
    Processes(u64) from |text| match processes(text)? {
        PidsLimit::Max { count } => Ok(count),
        PidsLimit::Default | PidsLimit::Unlimited => Err(format!("'{text}' bounds nothing")),
    }
}
amount! {
    /// Processors or memory nodes, as written; ranges that touch are one.
    Set((String, Vec<RangeInclusive<u64>>)) from |text| Ok((text.to_owned(), merged(set(text)?)))
}
amount! {
    /// One disk, as written.
    Disk((String, IoMax)) from |text| Ok((text.to_owned(), rates(text)?))
}

/// Rates of disks.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Disks(Vec<Disk>);

impl Most for Bytes {
    type Asked = u64;
    fn allows(&self, asked: &u64) -> bool {
        *asked <= self.0
    }
    fn typed(asked: &u64) -> String {
        show_bytes(*asked)
    }
    fn most(&self) -> String {
        show_bytes(self.0)
    }
}

impl Most for Processors {
    type Asked = CpuQuota;
    fn allows(&self, asked: &CpuQuota) -> bool {
        let cross =
            |one: CpuQuota, other: CpuQuota| u128::from(one.quota_us) * u128::from(other.period_us);
        cross(*asked, self.0) <= cross(self.0, *asked)
    }
    fn typed(asked: &CpuQuota) -> String {
        show_processors(*asked)
    }
    fn most(&self) -> String {
        show_processors(self.0)
    }
}

impl Most for Weight {
    type Asked = u32;
    fn allows(&self, asked: &u32) -> bool {
        *asked <= self.0
    }
    fn typed(asked: &u32) -> String {
        asked.to_string()
    }
    fn most(&self) -> String {
        self.0.to_string()
    }
}

impl Most for Processes {
    type Asked = PidsLimit;
    fn allows(&self, asked: &PidsLimit) -> bool {
        matches!(asked, PidsLimit::Max { count } if *count <= self.0)
    }
    fn typed(asked: &PidsLimit) -> String {
        show_processes(*asked)
    }
    fn most(&self) -> String {
        self.0.to_string()
    }
}

impl Most for Set {
    type Asked = String;
    const LESS: &'static str = "some of them";
    /// A list that we cannot read may mean anything to the kernel, and an empty one means all.
    fn allows(&self, asked: &String) -> bool {
        let (_, bound) = &self.0;
        let covers = |range: &RangeInclusive<u64>| {
            let ends = [range.start(), range.end()];
            let both = |one: &RangeInclusive<u64>| ends.iter().all(|end| one.contains(end));
            bound.iter().any(both)
        };
        set(asked).is_ok_and(|ranges| ranges.iter().all(covers))
    }
    fn typed(asked: &String) -> String {
        asked.escape_debug().to_string()
    }
    fn most(&self) -> String {
        self.0.0.clone()
    }
}

fn merged(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut all: Vec<RangeInclusive<u64>> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if *range.start() <= last.end() + 1 => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => all.push(range),
        }
    }
    all
}

/// All rates that a manifest has for the disk.
impl Most for Disk {
    type Asked = Vec<IoMax>;
    /// The kernel takes the last of several rates, so each of them counts.
    fn allows(&self, asked: &Vec<IoMax>) -> bool {
        let (_, bound) = &self.0;
        all_rates(bound).iter().enumerate().all(|(at, (_, most))| {
            let Some(most) = most else { return true };
            let mut found = asked.iter().filter_map(|disk| all_rates(disk)[at].1);
            found.clone().all(|rate| rate <= *most) && found.next().is_some()
        })
    }
    fn typed(asked: &Vec<IoMax>) -> String {
        let all: Vec<_> = asked.iter().map(show_rates).collect();
        all.join(" --io-max=")
    }
    fn most(&self) -> String {
        self.0.0.clone()
    }
}

impl Show for Disks {
    fn show(&self) -> String {
        let all: Vec<_> = self.0.iter().map(Show::show).collect();
        match all.is_empty() {
            true => "of no disk".to_owned(),
            false => all.join("; "),
        }
    }
}

impl Bounds {
    /// Whether these are within the bounds.
    pub(super) fn limits(&self, whose: Whose<'_>, asked: &Limits) -> Result<(), Violation> {
        let of = &self.memory;
        within(of, "memory", whose, asked.memory)?;
        let of = &self.memory_high;
        within(of, "memory-high", whose, asked.memory_high)?;
        let of = &self.memory_swap;
        within(of, "memory-swap-max", whose, asked.memory_swap)?;
        within(&self.cpus, "cpus", whose, asked.cpu_quota)?;
        if whose == Whose::Pod {
            within(&self.cpu_weight, "cpu-weight", whose, asked.cpu_weight)?;
            within(&self.io_weight, "io-weight", whose, asked.io_weight)?;
        }
        let cpus = asked.cpuset_cpus.clone();
        within(&self.cpuset_cpus, "cpuset-cpus", whose, cpus)?;
        let nodes = asked.cpuset_mems.clone();
        within(&self.cpuset_mems, "cpuset-mems", whose, nodes)?;
        let processes = Some(asked.pids).filter(|pids| *pids != PidsLimit::Default);
        within(&self.processes, "pids-limit", whose, processes)?;
        self.disks(whose, &asked.io_max)
    }

    fn disks(&self, whose: Whose<'_>, asked: &[IoMax]) -> Result<(), Violation> {
        let Some(Bound { value, file }) = &self.disks else {
            return Ok(());
        };
        value.0.iter().try_for_each(|disk| {
            let (_, IoMax { major, minor, .. }) = &disk.0;
            let same = |one: &&IoMax| (one.major, one.minor) == (*major, *minor);
            let found: Vec<_> = asked.iter().filter(same).cloned().collect();
            let found = Some(found).filter(|found| !found.is_empty());
            let (value, file) = (disk.clone(), file.clone());
            within(&Some(Bound { value, file }), "io-max", whose, found)
        })
    }

    /// There is no bound that only a limit can keep.
    pub(super) fn enforced(&self) -> Result<(), Violation> {
        let of_limit = |shown: &super::Shown| KEYS.contains(&shown.key);
        match self.shown().into_iter().find(of_limit) {
            Some(super::Shown { key, file, .. }) => Err(Violation {
                what: "insecure option limits".to_owned(),
                key,
                file,
                rule: "does not allow it: run the pod without that option, where limits can be had"
                    .to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// The keys of this file.
const KEYS: [&str; 10] = [
    "memory",
    "memory-high",
    "memory-swap-max",
    "cpus",
    "cpu-weight",
    "cpuset-cpus",
    "cpuset-mems",
    "pids-limit",
    "io-max",
    "io-weight",
];

fn within<T: Most>(
    bound: &Option<Bound<T>>,
    key: &'static str,
    whose: Whose<'_>,
    asked: Option<T::Asked>,
) -> Result<(), Violation> {
    let Some(bound) = bound else { return Ok(()) };
    let what = match (asked, whose) {
        (Some(asked), _) if bound.value.allows(&asked) => return Ok(()),
        (None, Whose::App(_)) => return Ok(()),
        (Some(asked), _) => format!("--{key}={} for {whose}", T::typed(&asked)),
        (None, Whose::Pod) => format!("no --{key} for {whose}"),
    };
    let (most, less, place) = (bound.value.most(), T::LESS, whose.place());
    let rule = format!("allows at most {most}: give --{key}={most} or {less}, {place}");
    Err(bound.refused(key, what, rule))
}

#[cfg(test)]
mod tests;

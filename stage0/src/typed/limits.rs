//! Limits of cgroup version 2, of a pod or of an app.

use clap::Args;
use pod::amount::{bytes, bytes_or_none, processes, processors, rates, set, weight};
use pod::{CpuQuota, IoMax, Limits, PidsLimit};

use super::Refused;

/// Less memory than this does not even start a program.
const LEAST_MEMORY: u64 = 4 << 20;

// Limits of a pod, and again of each app: an app's hold within its pod's.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LimitFlags {
    /// Most bytes of memory, such as 512M; then killed. Without --memory-swap-max also no swap
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// Bytes of memory above which it is slowed down
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory_high: Option<u64>,
    /// Most bytes of swap, beside those of memory; 0: none
    #[arg(long, value_name = "SIZE", value_parser = bytes_or_none)]
    pub(crate) memory_swap_max: Option<u64>,
    /// Processor time, in processors: 1.5 is one and a half
    #[arg(long, value_name = "NUMBER", value_parser = processors)]
    pub(crate) cpus: Option<CpuQuota>,
    /// Share of processors that are contended, 1 to 10000; who says nothing has 100
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    pub(crate) cpu_weight: Option<u32>,
    /// Processors to run on, such as 0-3,7
    #[arg(long, value_name = "LIST", value_parser = list)]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0
    #[arg(long, value_name = "LIST", value_parser = list)]
    pub(crate) cpuset_mems: Option<String>,
    /// Most processes and threads, or unlimited [default: 4096 for a pod]
    #[arg(long, value_name = "NUMBER", value_parser = processes)]
    pub(crate) pids_limit: Option<PidsLimit>,
    /// Rates of a disk: DEVICE[,rbps=SIZE][,wbps=SIZE][,riops=N][,wiops=N]; DEVICE is a path or MAJOR:MINOR
    #[arg(long, value_name = "RATES", value_parser = rates)]
    pub(crate) io_max: Vec<IoMax>,
    /// Share of disks that are contended, 1 to 10000; who says nothing has 100
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    pub(crate) io_weight: Option<u32>,
}

impl LimitFlags {
    /// As the manifest says it. A device that is named twice is refused.
    pub(crate) fn limits(&self) -> Result<Limits, Refused> {
        for (at, one) in self.io_max.iter().enumerate() {
            let same = |other: &IoMax| (other.major, other.minor) == (one.major, one.minor);
            if self.io_max[..at].iter().any(same) {
                let (major, minor) = (one.major, one.minor);
                return Err(format!("--io-max names device {major}:{minor} twice"));
            }
        }
        Ok(Limits {
            memory: self.memory,
            memory_high: self.memory_high,
            memory_swap: self.memory_swap_max,
            cpu_quota: self.cpus,
            cpu_weight: self.cpu_weight,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit.unwrap_or_default(),
            io_max: self.io_max.clone(),
            io_weight: self.io_weight,
        })
    }
}

fn memory(text: &str) -> Result<u64, Refused> {
    let size = bytes(text)?;
    if size < LEAST_MEMORY {
        return Err("less than 4M does not even start a program".to_owned());
    }
    Ok(size)
}

/// As it is typed: the kernel reads such a list too.
fn list(text: &str) -> Result<String, Refused> {
    set(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_at_least_what_a_program_needs() {
        assert_eq!(memory("4M"), Ok(4 << 20));
        assert!(memory("4194303").is_err() && memory("lots").is_err());
    }

    #[test]
    fn a_disk_is_named_once() {
        let one = rates("8:0,rbps=1M").unwrap();
        let flags = LimitFlags {
            io_max: vec![one.clone(), one],
            ..LimitFlags::default()
        };
        assert!(flags.limits().is_err());
    }
}

//! Limits of cgroup version 2, of a pod or of an app.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use clap::Args;
use pod::{CpuQuota, IoMax, Limits, PidsLimit};

use super::volume::Keys;
use super::{Refused, bytes, number};

/// Less memory than this does not even start a program.
const LEAST_MEMORY: u64 = 4 << 20;

/// The period of `cpu.max`, which is the kernel's default.
const PERIOD_US: u64 = 100_000;

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
    #[arg(long, value_name = "SIZE", value_parser = swap)]
    pub(crate) memory_swap_max: Option<u64>,
    /// Processor time, in processors: 1.5 is one and a half
    #[arg(long, value_name = "NUMBER", value_parser = cpus)]
    pub(crate) cpus: Option<CpuQuota>,
    /// Share of processors that are contended, 1 to 10000; who says nothing has 100
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    pub(crate) cpu_weight: Option<u32>,
    /// Processors to run on, such as 0-3,7
    #[arg(long, value_name = "LIST", value_parser = set)]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0
    #[arg(long, value_name = "LIST", value_parser = set)]
    pub(crate) cpuset_mems: Option<String>,
    /// Most processes and threads, or unlimited [default: 4096 for a pod]
    #[arg(long, value_name = "NUMBER", value_parser = pids)]
    pub(crate) pids_limit: Option<PidsLimit>,
    /// Rates of a disk: DEVICE[,rbps=SIZE][,wbps=SIZE][,riops=N][,wiops=N]; DEVICE is a path or MAJOR:MINOR
    #[arg(long, value_name = "RATES", value_parser = io_max)]
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

fn swap(text: &str) -> Result<u64, Refused> {
    if text == "0" { Ok(0) } else { bytes(text) }
}

/// A decimal number of processors, down to a hundredth.
fn cpus(text: &str) -> Result<CpuQuota, Refused> {
    let form =
        || format!("'{text}' is not a number of processors from 0.01 to 10000, such as 2 or 0.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.len() > 2 {
        return Err(form());
    }
    let hundredths = number(part).ok_or_else(form)? * if part.len() == 1 { 10 } else { 1 };
    let whole = number(whole)
        .filter(|whole| *whole <= 10_000)
        .ok_or_else(form)?;
    let quota_us = (whole * 100 + hundredths) * (PERIOD_US / 100);
    if quota_us == 0 || quota_us > 10_000 * PERIOD_US {
        return Err(form());
    }
    Ok(CpuQuota {
        quota_us,
        period_us: PERIOD_US,
    })
}

fn weight(text: &str) -> Result<u32, Refused> {
    let found = number(text).filter(|weight| (1..=10_000).contains(weight));
    let found = found.and_then(|weight| u32::try_from(weight).ok());
    found.ok_or_else(|| format!("'{text}' is not a weight from 1 to 10000"))
}

/// `N`, `N-M`, or several with commas.
fn set(text: &str) -> Result<String, Refused> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let small = |text: &str| number(text).filter(|n| *n < 1 << 16);
        small(first).zip(small(last)).is_some_and(|(a, b)| a <= b)
    };
    if text.split(',').all(one) {
        Ok(text.to_owned())
    } else {
        Err(format!("'{text}' is not a list such as 0-3,7"))
    }
}

fn pids(text: &str) -> Result<PidsLimit, Refused> {
    if text == "unlimited" {
        return Ok(PidsLimit::Unlimited);
    }
    let count = number(text).filter(|count| (1..=4_194_304).contains(count));
    let count = count
        .ok_or_else(|| format!("'{text}' is neither a number from 1 to 4194304 nor 'unlimited'"))?;
    Ok(PidsLimit::Max { count })
}

fn io_max(text: &str) -> Result<IoMax, Refused> {
    let (device, rates) = text.split_once(',').unwrap_or((text, ""));
    let (major, minor) = device_numbers(device)?;
    let mut keys = Keys::parse(rates)?;
    let mut size = |key| keys.take(key).map(|text| bytes(&text)).transpose();
    let (read_bytes, write_bytes) = (size("rbps")?, size("wbps")?);
    let mut count = |key: &str| {
        let one = |text: String| {
            let found = number(&text).filter(|count| *count > 0);
            found.ok_or_else(|| format!("{key}='{text}' is not a number of operations"))
        };
        keys.take(key).map(one).transpose()
    };
    let (read_operations, write_operations) = (count("riops")?, count("wiops")?);
    keys.end("--io-max")?;
    let rates = [read_bytes, write_bytes, read_operations, write_operations];
    if rates.iter().all(Option::is_none) {
        return Err("none of rbps=, wbps=, riops= and wiops= is given".to_owned());
    }
    Ok(IoMax {
        major,
        minor,
        read_bytes,
        write_bytes,
        read_operations,
        write_operations,
    })
}

fn device_numbers(text: &str) -> Result<(u32, u32), Refused> {
    if text.starts_with('/') {
        let found = std::fs::metadata(text).map_err(|e| format!("{text}: {e}"))?;
        if !found.file_type().is_block_device() {
            return Err(format!("{text} is not a block device"));
        }
        let device = found.rdev();
        return Ok((rustix::fs::major(device), rustix::fs::minor(device)));
    }
    let small = |text: &str| number(text).and_then(|n| u32::try_from(n).ok());
    let numbers = text.split_once(':');
    let numbers = numbers.and_then(|(major, minor)| small(major).zip(small(minor)));
    numbers.ok_or_else(|| format!("'{text}' is neither the path of a disk nor MAJOR:MINOR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_with_a_unit_of_1024_and_at_least_what_a_program_needs() {
        for (text, expected) in [("64M", 64 << 20), ("4194304", 4 << 20), ("1g", 1 << 30)] {
            assert_eq!(memory(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "1M",
            "64MB",
            "1.5G",
            "64 M",
            "M",
            "0x40",
            "99999999T",
            "unlimited",
        ] {
            assert!(memory(text).is_err(), "{text}");
        }
        assert_eq!(swap("0"), Ok(0));
        assert!(swap("").is_err());
    }

    #[test]
    fn processors_are_counted_to_the_hundredth() {
        let quota = |text| cpus(text).map(|quota| quota.quota_us);
        for (text, expected) in [
            ("1", 100_000),
            ("1.5", 150_000),
            ("0.25", 25_000),
            ("0.01", 1000),
            ("10000", 1_000_000_000),
        ] {
            assert_eq!(quota(text), Ok(expected), "{text}");
        }
        for text in [
            "", "0", "0.0", "0.001", "-1", ".5", "1.", "1,5", "1e3", "10000.01", "10001", "50%",
        ] {
            assert!(quota(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_weights_and_numbers_of_processes_are_strict() {
        for text in ["0", "0-3", "0-3,7", "2,4"] {
            assert!(set(text).is_ok(), "{text}");
        }
        for text in ["", ",", "3-1", "0-", "a", "0,,1", "0 ", "65536", "0-3\n"] {
            assert!(set(text).is_err(), "{text}");
        }
        assert_eq!((weight("1"), weight("10000")), (Ok(1), Ok(10_000)));
        assert!(
            ["0", "10001", "", "x"]
                .iter()
                .all(|text| weight(text).is_err())
        );
        assert_eq!(pids("unlimited"), Ok(PidsLimit::Unlimited));
        assert_eq!(pids("7"), Ok(PidsLimit::Max { count: 7 }));
        assert!(
            ["0", "-1", "", "max", "4194305"]
                .iter()
                .all(|text| pids(text).is_err())
        );
    }

    #[test]
    fn rates_are_for_one_disk_and_at_least_one_is_given() {
        let found = io_max("8:16,rbps=1M,wiops=100").unwrap();
        assert_eq!((found.major, found.minor), (8, 16));
        assert_eq!((found.read_bytes, found.write_bytes), (Some(1 << 20), None));
        assert_eq!(
            (found.read_operations, found.write_operations),
            (None, Some(100))
        );
        for text in [
            "",
            "8:0",
            "8:0,",
            "8,rbps=1",
            "sda,rbps=1",
            "8:0,rbps",
            "8:0,rbps=0",
            "8:0,bps=1",
            "8:0,rbps=1,rbps=2",
            "/dev/null,rbps=1",
            "/nonexistent,rbps=1",
            "8:0,riops=1M",
        ] {
            assert!(io_max(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_disk_is_named_once() {
        let one = io_max("8:0,rbps=1M").unwrap();
        let flags = LimitFlags {
            io_max: vec![one.clone(), one],
            ..LimitFlags::default()
        };
        assert!(flags.limits().is_err());
    }
}

//! The text forms of limits, as the flags of a command line and the bounds of a policy say them: strict, and printed as they
//! are read.

use std::ops::RangeInclusive;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::{CpuQuota, IoMax, PidsLimit};

/// Why a text is no amount.
pub type Refused = String;

/// The period of `cpu.max`, which is the kernel's default.
const PERIOD_US: u64 = 100_000;

/// Units of bytes, by their powers of 2.
const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

/// Decimal digits only: no sign, no blanks.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A number of bytes, with K, M, G or T for powers of 1024.
///
/// # Errors
/// It is none, or 0.
pub fn bytes(text: &str) -> Result<u64, Refused> {
    let form = || format!("'{text}' is not a number of bytes, such as 65536 or 64M");
    let (digits, shift) = match text.char_indices().last() {
        Some((at, last)) if !last.is_ascii_digit() => {
            let unit = last.to_ascii_uppercase();
            let found = UNITS.iter().find(|(name, _)| *name == unit);
            (&text[..at], found.ok_or_else(form)?.1)
        }
        _ => (text, 0),
    };
    let number = number(digits).ok_or_else(form)?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(form)
}

/// The same, or 0.
///
/// # Errors
/// As [`bytes`].
pub fn bytes_or_none(text: &str) -> Result<u64, Refused> {
    if text == "0" { Ok(0) } else { bytes(text) }
}

/// A decimal number of processors, down to a hundredth.
///
/// # Errors
/// It is none from 0.01 to 10000.
pub fn processors(text: &str) -> Result<CpuQuota, Refused> {
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

/// A share, 1 to 10000.
///
/// # Errors
/// It is none.
pub fn weight(text: &str) -> Result<u32, Refused> {
    let found = number(text).filter(|weight| (1..=10_000).contains(weight));
    let found = found.and_then(|weight| u32::try_from(weight).ok());
    found.ok_or_else(|| format!("'{text}' is not a weight from 1 to 10000"))
}

/// Numbers of processors or of memory nodes: `N`, `N-M`, or several with commas.
///
/// # Errors
/// It is no such list.
pub fn set(text: &str) -> Result<Vec<RangeInclusive<u64>>, Refused> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let small = |text: &str| number(text).filter(|n| *n < 1 << 16);
        let (first, last) = small(first).zip(small(last))?;
        (first <= last).then_some(first..=last)
    };
    let all: Option<Vec<_>> = text.split(',').map(one).collect();
    all.ok_or_else(|| format!("'{text}' is not a list such as 0-3,7"))
}

/// Processes and threads: a number, or `unlimited`.
///
/// # Errors
/// It is neither.
pub fn processes(text: &str) -> Result<PidsLimit, Refused> {
    if text == "unlimited" {
        return Ok(PidsLimit::Unlimited);
    }
    let count = number(text).filter(|count| (1..=4_194_304).contains(count));
    let count = count
        .ok_or_else(|| format!("'{text}' is neither a number from 1 to 4194304 nor 'unlimited'"))?;
    Ok(PidsLimit::Max { count })
}

/// `DISK,rbps=SIZE,wbps=SIZE,riops=N,wiops=N`: a disk, by its path or its numbers, and at least one rate.
///
/// # Errors
/// It is not that, or the path does not lead to a disk.
pub fn rates(text: &str) -> Result<IoMax, Refused> {
    let (disk, rest) = text.split_once(',').unwrap_or((text, ""));
    let (major, minor) = disk_numbers(disk)?;
    let mut found = IoMax {
        major,
        minor,
        read_bytes: None,
        write_bytes: None,
        read_operations: None,
        write_operations: None,
    };
    let count = |text: &str| number(text).filter(|count| *count > 0);
    for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (rate, value) = match key {
            "rbps" => (&mut found.read_bytes, bytes(value).ok()),
            "wbps" => (&mut found.write_bytes, bytes(value).ok()),
            "riops" => (&mut found.read_operations, count(value)),
            "wiops" => (&mut found.write_operations, count(value)),
            _ => return Err(format!("'{key}' is not rbps, wbps, riops or wiops")),
        };
        let value = value.ok_or_else(|| format!("'{pair}' is not a rate per second"))?;
        if rate.replace(value).is_some() {
            return Err(format!("'{key}' is given twice"));
        }
    }
    match all_rates(&found).iter().all(|(_, rate)| rate.is_none()) {
        true => Err("none of rbps=, wbps=, riops= and wiops= is given".to_owned()),
        false => Ok(found),
    }
}

fn disk_numbers(text: &str) -> Result<(u32, u32), Refused> {
    if text.starts_with('/') {
        let found = std::fs::metadata(text).map_err(|e| format!("{text}: {e}"))?;
        if !found.file_type().is_block_device() {
            return Err(format!("{text} is not a block device"));
        }
        return Ok(numbers(found.rdev()));
    }
    let small = |text: &str| number(text).and_then(|n| u32::try_from(n).ok());
    let numbers = text.split_once(':');
    let numbers = numbers.and_then(|(major, minor)| small(major).zip(small(minor)));
    numbers.ok_or_else(|| format!("'{text}' is neither the path of a disk nor MAJOR:MINOR"))
}

/// Major and minor number, which `dev_t` has in two parts each (`makedev(3)`).
fn numbers(device: u64) -> (u32, u32) {
    let part = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX);
    let major = ((device >> 32) & 0xffff_f000) | ((device >> 8) & 0xfff);
    let minor = ((device >> 12) & 0xffff_ff00) | (device & 0xff);
    (part(major), part(minor))
}

/// The rates of a disk, by the kernel's names.
#[must_use]
pub fn all_rates(disk: &IoMax) -> [(&'static str, Option<u64>); 4] {
    [
        ("rbps", disk.read_bytes),
        ("wbps", disk.write_bytes),
        ("riops", disk.read_operations),
        ("wiops", disk.write_operations),
    ]
}

/// Bytes, with the largest unit that leaves a whole number.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let whole = |(_, shift): &&(char, u32)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match UNITS.iter().find(whole) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Processors, as they are typed; a quota that cannot be typed as the kernel has it.
#[must_use]
pub fn show_processors(quota: CpuQuota) -> String {
    let CpuQuota {
        quota_us,
        period_us,
    } = quota;
    let hundredth = PERIOD_US / 100;
    if period_us != PERIOD_US || !quota_us.is_multiple_of(hundredth) {
        return format!("({quota_us} of {period_us} microseconds)");
    }
    let (whole, part) = (quota_us / PERIOD_US, quota_us % PERIOD_US / hundredth);
    let text = format!("{whole}.{part:02}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The number of processes.
#[must_use]
pub fn show_processes(limit: PidsLimit) -> String {
    match limit {
        PidsLimit::Default => "default".to_owned(),
        PidsLimit::Unlimited => "unlimited".to_owned(),
        PidsLimit::Max { count } => count.to_string(),
    }
}

/// A disk and its rates.
#[must_use]
pub fn show_rates(disk: &IoMax) -> String {
    let mut text = format!("{}:{}", disk.major, disk.minor);
    for (name, rate) in all_rates(disk) {
        let show = match name {
            "rbps" | "wbps" => show_bytes,
            _ => |count: u64| count.to_string(),
        };
        text.extend(rate.map(|rate| format!(",{name}={}", show(rate))));
    }
    text
}

#[cfg(test)]
mod tests;

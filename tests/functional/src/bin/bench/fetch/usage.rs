//! What a command and its descendants, or a daemon that works for it, need: time, processors, memory.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::lab::Failure;

/// Whether to look at the memory, which slows what is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Memory,
    Nothing,
}

/// What one run needed.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// Seconds.
    pub(super) wall: f64,
    /// Seconds of processors, in user and kernel mode.
    pub(super) cpu: f64,
    /// Peak of the proportional set size of all processes together, in bytes.
    pub(super) memory: u64,
}

/// Runs `command` to its end. `daemon` is a process that does the work of its client.
pub(super) fn measure(
    command: &mut Command,
    daemon: Option<u32>,
    watch: Watch,
) -> Result<Usage, Failure> {
    let before = spent(daemon)?;
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let mut memory = 0;
    if watch == Watch::Memory {
        while child.try_wait()?.is_none() {
            let roots = [Some(child.id()), daemon];
            let now: u64 = roots.into_iter().flatten().map(size_of_family).sum();
            memory = memory.max(now);
            sleep(Duration::from_millis(5));
        }
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{status}: {}", said.trim()).into());
    }
    let cpu = spent(daemon)? - before;
    Ok(Usage { wall, cpu, memory })
}

/// Seconds of processors of all children that have ended, and of the daemon with its own.
fn spent(daemon: Option<u32>) -> Result<f64, Failure> {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let mut sum = seconds(usage.user_time()) + seconds(usage.system_time());
    if let Some(pid) = daemon {
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(4);
        sum += ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / TICKS;
    }
    Ok(sum)
}

/// Proportional set size of a process and its descendants, in bytes. What has just ended counts nothing.
fn size_of_family(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let own = own.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let children = threads.into_iter().flatten().flatten().flat_map(|thread| {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<u32>>()
    });
    own.unwrap_or(0) * 1024 + children.map(size_of_family).sum::<u64>()
}

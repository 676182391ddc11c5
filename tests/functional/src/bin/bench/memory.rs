//! Memory of what skua keeps running for a pod: keeper and stage2, as proportional set size (`/proc/<pid>/smaps_rollup`).

use std::fs;
use std::io::{self, Write};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::lab::{Failure, succeed};
use crate::skua::Skua;

/// Starts one pod and then `many`, and prints KiB of proportional set size for each pod.
pub(crate) fn measure(skua: &Skua, many: usize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\nmemory of keeper and stage2, KiB of proportional set size a pod"
    )?;
    for count in [1, many] {
        let mut pods = Vec::new();
        for _ in 0..count {
            pods.push(
                skua.sleeping()
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .spawn()?,
            );
        }
        let total = settled(&pods);
        for pod in &mut pods {
            pod.kill()?;
            pod.wait()?;
        }
        // What keepers leave that are killed: cgroups, which would outlive the lab.
        succeed(skua.command().args(["gc", "--grace-period=0s"]))?;
        writeln!(
            out,
            "  {count:>3} pods: {:>7.0}",
            total? as f64 / count as f64
        )?;
    }
    Ok(())
}

/// The sum over all keepers and their only children, when every pod has its app.
fn settled(pods: &[Child]) -> Result<u64, Failure> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let stages: Vec<u32> = loop {
        let pairs: Vec<_> = pods.iter().filter_map(|pod| stages_of(pod.id())).collect();
        if pairs.len() == pods.len() {
            break pairs.concat();
        }
        if Instant::now() > deadline {
            return Err("the pods did not start within 20 seconds".into());
        }
        sleep(Duration::from_millis(50));
    };
    sleep(Duration::from_millis(500));
    stages.into_iter().map(pss).sum()
}

/// Keeper and stage2, once stage2 has a child: the app.
fn stages_of(keeper: u32) -> Option<Vec<u32>> {
    let stage2 = children(keeper)
        .into_iter()
        .find(|&pid| !children(pid).is_empty())?;
    Some(vec![keeper, stage2])
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn pss(pid: u32) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .ok_or("no Pss line")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

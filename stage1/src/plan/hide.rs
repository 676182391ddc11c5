//! Paths of `/proc` and `/sys` that tell about or act on the host, not the pod.

use pod::{AppFile, InsecureOption, PodManifest};

use super::app::{expect, target};
use super::{Plan, insecure};
use crate::error::Error;
use crate::op::{App, FileSystem, Find, Op, Origin};

/// Covered: what container runtimes mask, and what newer kernels have added.
const MASKED: [&str; 15] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kallsyms",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/security",
];

/// Read-only. Files of pid 1 can be written by whoever is user 0 of the pod: who dies first when memory is used up.
const READ_ONLY: [&str; 6] = [
    "/proc/1",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Adds the steps, without those that the app's manifest names one by one.
pub(super) fn paths(
    plan: &mut Plan,
    manifest: &PodManifest,
    app: &pod::App,
    place: &App,
    file: &mut AppFile,
) -> Result<(), Error> {
    let known = |path: &&String| !MASKED.iter().chain(&READ_ONLY).any(|known| known == path);
    if let Some(path) = app.unmasked.iter().find(known) {
        let path = path.escape_debug().to_string();
        return Err(Error::NotMasked(app.name.clone(), path));
    }
    if insecure(manifest, InsecureOption::Paths) {
        return Ok(());
    }
    let hidden = |path: &&str| !app.unmasked.iter().any(|shown| shown == path);
    for path in MASKED.iter().copied().filter(hidden) {
        let mask = Op::Mask(target(place, path, Find::Existing));
        plan.add(Origin::BuiltIn, mask);
    }
    for path in READ_ONLY.iter().copied().filter(hidden) {
        let read_only = Op::ReadOnly(target(place, path, Find::Existing));
        plan.add(Origin::BuiltIn, read_only);
    }
    if hidden(&"/proc/sys") {
        expect(file, "/proc/sys", FileSystem::Proc, true);
    }
    Ok(())
}

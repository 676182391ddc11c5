//! Which disks share their time out by weight. The kernel does that in two places, each with a file of its own in a cgroup:
//! `io.cost` (`io.weight`) and the scheduler `bfq` (`io.bfq.weight`). Where neither is in force on a disk, the files are there and
//! mean nothing. Looks at `/sys` and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pod::{PodManifest, VolumeSource};

use super::place::NoLimits;

/// What shares out the time of some disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weighers {
    /// `io.cost`.
    pub(crate) cost: bool,
    /// The scheduler `bfq`.
    pub(crate) bfq: bool,
}

/// Disks by name, and what shares out their time.
type Disks = BTreeMap<String, Weighers>;

/// What shares out the time of the disks of this pod: of its directory, its layers and its volumes of the host. Where none of
/// them is on a disk that can be told (btrfs, a network), any disk of the host counts.
pub(crate) fn of_pod(
    manifest: &PodManifest,
    hierarchy: &Path,
) -> io::Result<Result<Weighers, NoLimits>> {
    let costed = fs::read_to_string(hierarchy.join("io.cost.qos")).unwrap_or_default();
    let mut disks = Disks::new();
    for path in places(manifest) {
        // One that is missing is an error of its own, and not here.
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        let (major, minor) = (libc::major(found.dev()), libc::minor(found.dev()));
        let device = format!("/sys/dev/block/{major}:{minor}");
        if let Ok(device) = fs::canonicalize(device) {
            add(&device, &costed, &mut disks)?;
        }
    }
    if disks.is_empty() {
        for device in fs::read_dir("/sys/block")? {
            add(&fs::canonicalize(device?.path())?, &costed, &mut disks)?;
        }
        disks.retain(|_, weighers| *weighers != Weighers::default());
    }
    Ok(all(&disks))
}

fn places(manifest: &PodManifest) -> Vec<PathBuf> {
    let layers = manifest.apps.iter().flat_map(|app| &app.layers);
    let layers = layers.map(|layer| PathBuf::from(&layer.path));
    let volumes = manifest
        .volumes
        .iter()
        .filter_map(|volume| match &volume.source {
            VolumeSource::Host(host) => Some(PathBuf::from(&host.path)),
            _ => None,
        });
    let own = std::iter::once(PathBuf::from("."));
    own.chain(layers).chain(volumes).collect()
}

/// Adds the disk of a partition, or those below a device that is made of others.
fn add(device: &Path, costed: &str, disks: &mut Disks) -> io::Result<()> {
    if device.join("partition").exists() {
        return device
            .parent()
            .map_or(Ok(()), |disk| add(disk, costed, disks));
    }
    let below = fs::read_dir(device.join("slaves")).into_iter().flatten();
    let below = below.collect::<io::Result<Vec<_>>>()?;
    for one in &below {
        add(&fs::canonicalize(one.path())?, costed, disks)?;
    }
    if below.is_empty() {
        let name = device.file_name().unwrap_or_default().to_string_lossy();
        disks.insert(name.into_owned(), weighers(device, costed));
    }
    Ok(())
}

fn weighers(disk: &Path, costed: &str) -> Weighers {
    let says = |file: &str| fs::read_to_string(disk.join(file)).unwrap_or_default();
    Weighers {
        cost: is_costed(says("dev").trim(), costed),
        bfq: says("queue/scheduler").contains("[bfq]"),
    }
}

/// Whether a line of `io.cost.qos` is about this disk, and says that it is in force.
fn is_costed(numbers: &str, costed: &str) -> bool {
    let of_disk = |line: &&str| line.split(' ').next() == Some(numbers);
    let line = costed.lines().find(of_disk);
    line.is_some_and(|line| line.split(' ').any(|word| word == "enable=1"))
}

fn all(disks: &Disks) -> Result<Weighers, NoLimits> {
    let none = |(_, weighers): &(&String, &Weighers)| **weighers == Weighers::default();
    if let Some((name, _)) = disks.iter().find(none) {
        return Err(NoLimits::Unweighed(format!("disk {name}")));
    }
    if disks.is_empty() {
        return Err(NoLimits::Unweighed("every disk here".to_owned()));
    }
    Ok(Weighers {
        cost: disks.values().any(|weighers| weighers.cost),
        bfq: disks.values().any(|weighers| weighers.bfq),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_costed_when_its_own_line_says_so() {
        let costed = "8:0 enable=0 ctrl=auto\n254:0 enable=1 ctrl=auto rpct=0.00\n";
        for (numbers, is) in [
            ("8:0", false),
            ("254:0", true),
            ("54:0", false),
            ("", false),
        ] {
            assert_eq!(is_costed(numbers, costed), is, "{numbers}");
        }
    }

    #[test]
    fn every_disk_of_a_pod_must_be_weighed() {
        let (bfq, cost) = (
            Weighers {
                bfq: true,
                cost: false,
            },
            Weighers {
                bfq: false,
                cost: true,
            },
        );
        let disks = |list: &[(&str, Weighers)]| {
            list.iter()
                .map(|(name, weighers)| ((*name).to_owned(), *weighers))
                .collect::<Disks>()
        };
        assert_eq!(
            all(&disks(&[("a", bfq), ("b", cost)])),
            Ok(Weighers {
                bfq: true,
                cost: true
            })
        );
        assert_eq!(all(&disks(&[("a", bfq)])), Ok(bfq));
        let refused = all(&disks(&[("a", bfq), ("b", Weighers::default())]));
        assert_eq!(refused, Err(NoLimits::Unweighed("disk b".to_owned())));
        assert!(all(&disks(&[])).is_err());
    }
}

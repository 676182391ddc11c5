//! Prints the plan of the pod in the working directory, for people: nothing is done, not even looked at.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use pod::{Extent, IdMap, IdMapChoice, PodDir, PodManifest};

use crate::error::Error;
use crate::idmap;
use crate::plan::{Namespaces, Opener, Plan, Role};

/// Prints it.
pub(crate) fn explain() -> Result<u8, Error> {
    let manifest: PodManifest = pod::load(&PodDir::here().manifest())?;
    let plan = Plan::new(&manifest, &expected_map(&manifest.id_map))?;
    let text = plan.to_string();
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(Error::Output)?;
    Ok(0)
}

/// The map that the pod will have; which range it will be is decided when it starts, here it is the first.
fn expected_map(choice: &IdMapChoice) -> IdMap {
    match choice {
        IdMapChoice::Range { first, count, .. } => IdMap::range(*first, *count),
        IdMapChoice::Subordinate { map, .. } => map.clone(),
        IdMapChoice::Single { uid, gid } => idmap::single(*uid, *gid),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.namespaces {
            Namespaces::All => "network, ",
            Namespaces::AllButNetwork => "",
        };
        writeln!(f, "namespaces: user, mount, pid, {network}ipc, uts, cgroup")?;
        writeln!(f, "user ids: {}", extents(&self.id_map.uids))?;
        writeln!(f, "group ids: {}", extents(&self.id_map.gids))?;
        let opener = match self.opener {
            Opener::Keeper { .. } => "the keeper, with owners mapped",
            Opener::Inside => "the inside",
        };
        writeln!(f, "trees, opened by {opener}:")?;
        for (number, tree) in self.trees.iter().enumerate() {
            let role = match tree.role {
                Role::Layer => "layer",
                Role::Own => "of the pod",
                Role::HostVolume => "volume of the host",
                Role::HostSys => "sysfs of the host",
                Role::Device => "device made for the pod",
            };
            let rights = if tree.read_only {
                "read-only"
            } else {
                "writable"
            };
            let below = if tree.recursive {
                ", with the mounts below it"
            } else {
                ""
            };
            let exec = if tree.no_exec { ", without exec" } else { "" };
            let path = tree.path.display().to_string();
            writeln!(
                f,
                "  {number}: {} ({role}, {rights}{exec}{below})",
                path.escape_debug()
            )?;
        }
        writeln!(f, "steps:")?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "  {} [{}]", step.op, step.origin))
    }
}

fn extents(list: &[Extent]) -> String {
    let mut text = String::new();
    for (
        at,
        Extent {
            inside,
            host,
            count,
        },
    ) in list.iter().enumerate()
    {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{comma}{count} from {inside} as the host's from {host}"
        );
    }
    text
}

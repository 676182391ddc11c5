//! The addresses of a pod whose keeper was killed while a plugin was at ADD, and so left no result: read from the
//! masquerading rules that `bridge` and `ptp` had made by then, which carry the pod's id as a comment.

use std::path::Path;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::call::Call;
use super::chain::PATH;
use super::error::NetworkError;

/// How long listing all rules may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The most bytes of all rules.
const MAX_RULES: usize = 64 << 20;

/// The addresses that are masqueraded for a pod. A host without iptables has no such rules.
pub(super) fn addresses(container: &str) -> Result<Vec<IpNetwork>, NetworkError> {
    let mut found = Vec::new();
    for name in ["iptables-save", "ip6tables-save"] {
        let program = PATH
            .split(':')
            .map(|directory| Path::new(directory).join(name))
            .find(|program| program.is_file());
        if let Some(program) = program {
            let rules = Call {
                program: &program,
                command: "a listing",
                environment: &[("PATH", PATH.to_owned())],
                input: b"",
                limit: LIMIT,
                most: MAX_RULES,
                interrupt: None,
            }
            .run()?;
            found.extend(sources(&String::from_utf8_lossy(&rules.stdout), container));
        }
    }
    Ok(found)
}

/// The sources of the rules with this id.
fn sources<'a>(rules: &'a str, container: &'a str) -> impl Iterator<Item = IpNetwork> {
    let ours = move |line: &&str| line.starts_with("-A POSTROUTING ") && line.contains(container);
    rules.lines().filter(ours).filter_map(|line| {
        let mut words = line.split(' ');
        words.find(|word| *word == "-s")?;
        words.next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sources_of_the_pod_s_own_rules_are_taken() {
        let rules = "*nat\n:CNI-1 - [0:0]\n\
            -A POSTROUTING -s 10.209.0.9/32 -m comment --comment \"name: \\\"default\\\" id: \\\"other\\\"\" -j CNI-2\n\
            -A POSTROUTING -s 10.209.0.4/32 -m comment --comment \"name: \\\"default\\\" id: \\\"mine\\\"\" -j CNI-1\n\
            -A POSTROUTING -m comment --comment \"mine\" -j CNI-HOSTPORT-MASQ\n\
            -A CNI-1 -d 10.209.0.0/16 -m comment --comment \"id: \\\"mine\\\"\" -j ACCEPT\nCOMMIT\n";
        let found: Vec<_> = sources(rules, "mine").collect();
        assert_eq!(found, ["10.209.0.4/32".parse().unwrap()]);
    }
}

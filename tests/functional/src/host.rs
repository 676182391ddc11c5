//! A host for tests of networks: a thread's own network and mount namespace. The machine's own network, leases and rules
//! are never touched, and tests do not see each other's.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::{User, eventually, missing_program, skip};

/// Turns this thread into a host of its own: with a loopback interface, and 192.0.2.1 as an address that others could
/// reach. `None`, said so, when that cannot be had here.
///
/// # Panics
/// When the namespaces cannot be made.
#[must_use]
pub fn private_host(test: &str) -> Option<User> {
    let root = User::root(test)?;
    if let Some(program) = missing_program(&["ip", "iptables-save", "unshare"]) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    if !std::path::Path::new("/usr/lib/cni/bridge").exists() {
        skip(test, "containernetworking-plugins is not installed");
        return None;
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("unshare");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    for path in ["/var/lib", "/run"] {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none).expect("a tmpfs");
    }
    for step in [
        "ip link set lo up",
        "ip link add outside type veth peer name far",
        "ip addr add 192.0.2.1/24 dev outside",
        "ip link set outside up",
    ] {
        sh(step);
    }
    Some(root)
}

/// What a shell script prints; it must succeed.
///
/// # Panics
/// When it does not.
pub fn sh(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", script])
        .output()
        .expect("sh");
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything on the host that belongs to some pod: interfaces, leases, rules.
///
/// # Panics
/// When it cannot be listed.
#[must_use]
pub fn left_of_networks() -> BTreeSet<String> {
    let text = sh("ip -o link show type veth | cut -d: -f2 | grep veth || :
         find /var/lib/cni -name '10.*' 2>/dev/null || :
         iptables-save | grep -e 'id: ' -e '10[.]209[.]0[.][2-9]' -e '10[.]98[.]' || :");
    text.lines().map(str::to_owned).collect()
}

/// What a server says to who connects; retried until it is there.
///
/// # Panics
/// When it says nothing within five minutes.
#[must_use]
pub fn hear(address: &str) -> String {
    let mut heard = String::new();
    eventually(&format!("an answer from {address}"), || {
        let Ok(mut stream) = TcpStream::connect(address) else {
            return false;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        stream.read_to_string(&mut heard).is_ok() && !heard.is_empty()
    });
    heard.trim().to_owned()
}

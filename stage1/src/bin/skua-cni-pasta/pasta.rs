//! The pasta process of a pod: started with the pod's namespaces as descriptors, found again by its arguments.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cni_plugin::config::PortProtocol;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::getuid;

use crate::error::Error;
use crate::inputs::{Inputs, Port};
use crate::{state, sys};

/// The pod's address; every pod has the same one, for each is alone with its pasta.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// Its prefix length.
pub(crate) const PREFIX: u8 = 24;
/// Its default gateway.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Questions to this name server are passed on to the host's.
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Milliseconds that pasta has to end after SIGTERM.
const PATIENCE: u16 = 5000;

/// Starts pasta; when this returns, the pod has its interface and its ports are open.
pub(crate) fn start(inputs: &Inputs) -> Result<(), Error> {
    let path = inputs
        .netns
        .as_deref()
        .ok_or(Error::Environment("CNI_NETNS"))?;
    let failed = |e| Error::Netns(path.to_owned(), e);
    let netns = OwnedFd::from(File::open(path).map_err(failed)?);
    let owner = sys::owner_of(netns.as_fd()).map_err(Error::Owner)?;
    for descriptor in [&netns, &owner] {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| failed(e.into()))?;
    }
    let pid_file = state::new_pid_file(inputs)?;
    let mut messages = File::from(
        memfd_create(c"messages", MFdFlags::MFD_CLOEXEC).map_err(|e| Error::Start(e.into()))?,
    );
    let mut command = Command::new("pasta");
    command
        .args(["--quiet", "--config-net", "--ipv4-only", "--no-map-gw"])
        // By descriptor: once in the user namespace, pasta could not open the keeper's.
        .args(["--netns", &format!("/proc/self/fd/{}", netns.as_raw_fd())])
        .args(["--userns", &format!("/proc/self/fd/{}", owner.as_raw_fd())])
        .args(["--ns-ifname", &inputs.interface])
        .args([
            "--address",
            &ADDRESS.to_string(),
            "--netmask",
            &PREFIX.to_string(),
        ])
        .args([
            "--gateway",
            &GATEWAY.to_string(),
            "--dns-forward",
            &DNS.to_string(),
        ])
        .args(ports(&inputs.ports))
        // Nothing of the host's loopback interface is for the pod.
        .args(["--tcp-ns", "none", "--udp-ns", "none"])
        .arg("--pid")
        .arg(&pid_file)
        // Not in the plugin's process group: that ends with the plugin.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(messages.try_clone().map_err(Error::Start)?);
    // From when it has joined the pod, DEL finds it; until then it dies with us, and so with the keeper.
    sys::dies_with_parent(&mut command);
    let status = command.status().map_err(Error::Start)?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    let _ = messages
        .rewind()
        .and_then(|()| (&mut messages).take(4096).read_to_string(&mut said));
    Err(Error::Failed(in_one_line(&said)))
}

/// What pasta said, without that there is no syslog to say it to.
fn in_one_line(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let telling = lines.filter(|line| !line.is_empty() && !line.ends_with("bytes to syslog"));
    telling.collect::<Vec<_>>().join("; ")
}

/// Options for the published ports: `--tcp-ports ADDRESS/HOST:POD`.
fn ports(ports: &[Port]) -> Vec<String> {
    let mut options = Vec::new();
    for (option, wanted) in [("--tcp-ports", "tcp"), ("--udp-ports", "udp")] {
        let before = options.len();
        for port in ports.iter().filter(|port| protocol(port) == wanted) {
            let address = port.address.map(|address| format!("{address}/"));
            let address = address.unwrap_or_default();
            options.push(option.to_owned());
            options.push(format!("{address}{}:{}", port.host, port.pod));
        }
        if options.len() == before {
            options.extend([option.to_owned(), "none".to_owned()]);
        }
    }
    options
}

fn protocol(port: &Port) -> &'static str {
    match port.protocol {
        PortProtocol::Udp => "udp",
        _ => "tcp",
    }
}

/// Whether the pod's pasta runs.
pub(crate) fn check(inputs: &Inputs) -> Result<(), Error> {
    match find(&state::pid_files(inputs))?.is_empty() {
        true => Err(Error::Gone),
        false => Ok(()),
    }
}

/// Ends the pod's pasta, if it runs, and waits for that: its ports are free then.
pub(crate) fn stop(inputs: &Inputs) -> Result<(), Error> {
    let pid_files = state::pid_files(inputs);
    // Again, for one that was on its way into the background may have become another process meanwhile.
    loop {
        let processes = find(&pid_files)?;
        if processes.is_empty() {
            break;
        }
        processes.iter().try_for_each(end).map_err(Error::Stop)?;
    }
    pid_files
        .into_iter()
        .try_for_each(|path| state::remove(&path, inputs).map_err(|e| Error::PidFile(path, e)))
}

/// The processes that were started with one of these very pid files as an argument. They are found by that and not by what the
/// file says: a keeper that is killed during ADD leaves a pasta that has not written it yet. Anybody can have such an argument, so
/// only processes of this user count.
fn find(pid_files: &[PathBuf]) -> Result<Vec<OwnedFd>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Error::Processes)? {
        let entry = entry.map_err(Error::Processes)?;
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // The descriptor first: afterwards the number cannot become another process's unnoticed.
        let Some(process) = pid.and_then(|pid| sys::pidfd_open(pid).ok()) else {
            continue;
        };
        // Nothing can be read of a process that has ended.
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        let is = |word, path: &PathBuf| word == path.as_os_str().as_encoded_bytes();
        let named = words.any(|word| pid_files.iter().any(|path| is(word, path)));
        if named && is_ours(&entry.path()) {
            found.push(process);
        }
    }
    Ok(found)
}

/// By its real user, whom `status` tells also of a process that cannot be traced: its directory belongs to root.
fn is_ours(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let real = uid.and_then(|uids| uids.split_whitespace().next()?.parse().ok());
    real == Some(getuid().as_raw())
}

/// Ends a process, gently first. One that has ended by itself meanwhile, as pasta does with its namespace, has ended.
fn end(process: &OwnedFd) -> io::Result<()> {
    signal(process, libc::SIGTERM)?;
    if !ended(process)? {
        signal(process, libc::SIGKILL)?;
        ended(process)?;
    }
    Ok(())
}

fn signal(process: &OwnedFd, signal: libc::c_int) -> io::Result<()> {
    match sys::send_signal(process.as_fd(), signal) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        sent => sent,
    }
}

fn ended(process: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut polled, PollTimeout::from(PATIENCE))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_meanwhile_is_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        let process = sys::pidfd_open(child.id()).unwrap();
        child.wait().unwrap();
        end(&process).unwrap();
    }
}

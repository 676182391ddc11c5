//! What this process is and sees.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{
    Pid, getgroups, gethostname, getpgid, getpid, getppid, getresgid, getresuid, getsid,
};
use serde_json::{Value, json};

use crate::{Answer, Reply};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    let value = match question {
        "id" => id(),
        "status" => status(),
        "maps" => maps(),
        "namespaces" => links("/proc/self/ns"),
        "mounts" => mounts(),
        "fds" => links("/proc/self/fd"),
        "env" => Ok(json!(std::env::vars().collect::<Vec<_>>())),
        "args" => Ok(json!(words)),
        "cwd" => text(std::env::current_dir().map(|d| d.display().to_string())),
        "limits" => Ok(limits()),
        "processes" => processes(),
        "session" => session(),
        "tty" => Ok(tty()),
        "hostname" => gethostname()
            .map(|n| json!(n.to_string_lossy()))
            .map_err(|e| e.to_string()),
        _ => return None,
    };
    Some(value.map(Reply::Json))
}

fn text(result: std::io::Result<String>) -> Result<Value, String> {
    result.map(Value::String).map_err(|e| e.to_string())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// Real, effective and saved ids, and the supplementary groups.
fn id() -> Result<Value, String> {
    let users = getresuid().map_err(|e| e.to_string())?;
    let groups = getresgid().map_err(|e| e.to_string())?;
    let supplementary: Vec<u32> = getgroups()
        .map_err(|e| e.to_string())?
        .iter()
        .map(|g| g.as_raw())
        .collect();
    Ok(json!({
        "uid": [users.real.as_raw(), users.effective.as_raw(), users.saved.as_raw()],
        "gid": [groups.real.as_raw(), groups.effective.as_raw(), groups.saved.as_raw()],
        "groups": supplementary,
        "pid": getpid().as_raw(),
        "ppid": getppid().as_raw(),
    }))
}

/// `/proc/self/status`: capabilities, `NoNewPrivs`, `Seccomp`, signal masks, `Umask`.
fn status() -> Result<Value, String> {
    let fields: BTreeMap<String, String> = read("/proc/self/status")?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Ok(json!(fields))
}

/// The id maps: lines of three numbers.
fn maps() -> Result<Value, String> {
    let map = |path: &str| -> Result<Vec<Vec<u64>>, String> {
        Ok(read(path)?
            .lines()
            .map(|line| {
                line.split_whitespace()
                    .filter_map(|w| w.parse().ok())
                    .collect()
            })
            .collect())
    };
    Ok(json!({
        "uids": map("/proc/self/uid_map")?,
        "gids": map("/proc/self/gid_map")?,
        "setgroups": read("/proc/self/setgroups")?.trim(),
    }))
}

/// The names in a directory of links and where they lead.
fn links(directory: &str) -> Result<Value, String> {
    let mut found = BTreeMap::new();
    let entries = fs::read_dir(directory).map_err(|e| format!("{directory}: {e}"))?;
    for entry in entries.flatten() {
        // The descriptor of this very directory is gone when its turn comes, or leads here.
        if let Ok(target) = fs::read_link(entry.path()) {
            let target = target.display().to_string();
            if !(target.starts_with("/proc/") && target.ends_with("/fd")) {
                found.insert(entry.file_name().to_string_lossy().into_owned(), target);
            }
        }
    }
    Ok(json!(found))
}

/// `/proc/self/mountinfo`.
fn mounts() -> Result<Value, String> {
    let list: Vec<Value> = read("/proc/self/mountinfo")?
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            Some(json!({
                "root": left.get(3)?,
                "target": left.get(4)?,
                "options": left.get(5)?.split(',').collect::<Vec<_>>(),
                "propagation": left.get(6..)?,
                "type": right.first()?,
                "source": right.get(1)?,
                "super": right.get(2)?.split(',').collect::<Vec<_>>(),
            }))
        })
        .collect();
    Ok(json!(list))
}

fn limits() -> Value {
    let resources = [
        ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
        ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
        ("RLIMIT_CORE", Resource::RLIMIT_CORE),
        ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
        ("RLIMIT_AS", Resource::RLIMIT_AS),
        ("RLIMIT_CPU", Resource::RLIMIT_CPU),
        ("RLIMIT_STACK", Resource::RLIMIT_STACK),
        ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
    ];
    resources
        .into_iter()
        .filter_map(|(name, resource)| Some((name, getrlimit(resource).ok()?)))
        .map(|(name, pair)| (name.to_owned(), json!(pair)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Process ids and names that `/proc` shows.
fn processes() -> Result<Value, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(|e| e.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|b| b.is_ascii_digit()) {
            let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.insert(name, comm.trim().to_owned());
        }
    }
    Ok(json!(found))
}

fn session() -> Result<Value, String> {
    let own = None::<Pid>;
    let session = getsid(own).map_err(|e| e.to_string())?;
    let group = getpgid(own).map_err(|e| e.to_string())?;
    Ok(json!({"session": session.as_raw(), "group": group.as_raw(), "pid": getpid().as_raw()}))
}

/// Which standard streams are terminals, and whether there is a controlling one.
fn tty() -> Value {
    json!({
        "stdin": std::io::stdin().is_terminal(),
        "stdout": std::io::stdout().is_terminal(),
        "stderr": std::io::stderr().is_terminal(),
        "controlling": fs::File::open("/dev/tty").is_ok(),
    })
}

//! The plan that `skua explain` prints against the system calls that stage1 makes: each call is paid for by one item, and each
//! item is done. What is not paid for was done without being said.

mod inside;
mod keeper;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::trace::Call;

/// How often an item leads to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// Exactly once.
    Once,
    /// Once, or not at all: it depends on the host.
    Maybe,
    /// As often as it takes.
    Often,
}

/// A call that an item leads to.
#[derive(Debug)]
struct Entry {
    item: String,
    call: &'static str,
    /// Everything that the call's text has in it.
    parts: Vec<String>,
    times: Times,
    done: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of '{}'", self.call, self.parts, self.item)
    }
}

impl Entry {
    fn is_for(&self, call: &Call) -> bool {
        let open = self.times == Times::Often || !self.done;
        let has = |part: &String| call.text.contains(part.as_str());
        open && self.call == kind(call) && self.parts.iter().all(has)
    }
}

/// What the items of a plan lead to.
#[derive(Debug)]
pub struct Ledger {
    /// The pod.
    id: String,
    item: String,
    /// Of each app, below the staging directory.
    roots: BTreeMap<String, String>,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Of what `explain` has said about the pod `id`.
    ///
    /// # Panics
    /// When an item is of a kind that nobody has decided about.
    #[must_use]
    pub fn new(explained: &Value, id: &str) -> Self {
        let mut ledger = Self {
            id: id.to_owned(),
            item: String::new(),
            roots: BTreeMap::new(),
            entries: Vec::new(),
        };
        let plan = &explained["plan"];
        for item in plan["items"].as_array().expect("items") {
            ledger.item = item["text"].as_str().expect("text").to_owned();
            let (op, args) = (item["op"].as_str().expect("op"), &item["args"]);
            let known = match item["process"].as_str() {
                Some("inside") => ledger.inside(op, args, plan),
                // It executes no code of stage1.
                Some("stage2") => true,
                _ => ledger.keeper(op, args, plan),
            };
            assert!(known, "{op} of {item} leads to which system calls?");
        }
        ledger
    }

    /// Pays for the calls. What is wrong, in words.
    #[must_use]
    pub fn settle(mut self, calls: &[&Call]) -> Vec<String> {
        let mut wrong = Vec::new();
        for call in calls.iter().filter(|call| !call.failed() && changes(call)) {
            // The one that must come is paid before the one that may.
            let kinds = [Times::Once, Times::Maybe, Times::Often];
            let mut entry = None;
            for kind in kinds {
                let is = |entry: &Entry| entry.times == kind && entry.is_for(call);
                entry = entry.or(self.entries.iter().position(is));
            }
            match entry {
                Some(at) => self.entries[at].done = true,
                None => wrong.push(format!("no item says: {}", call.text)),
            }
        }
        let missing = |entry: &&Entry| entry.times == Times::Once && !entry.done;
        let missing = self.entries.iter().filter(missing);
        wrong.extend(missing.map(|entry| format!("never done: {entry}")));
        wrong
    }

    fn add(&mut self, times: Times, call: &'static str, parts: &[&str]) {
        self.entries.push(Entry {
            item: self.item.clone(),
            call,
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            times,
            done: false,
        });
    }

    fn once(&mut self, call: &'static str, parts: &[&str]) {
        self.add(Times::Once, call, parts);
    }

    fn maybe(&mut self, call: &'static str, parts: &[&str]) {
        self.add(Times::Maybe, call, parts);
    }

    fn often(&mut self, call: &'static str, parts: &[&str]) {
        self.add(Times::Often, call, parts);
    }

    /// A descriptor that leads to `path` below the pod directory, as the trace shows it.
    fn at(&self, path: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        format!("/{}{slash}{path}>", self.id)
    }
}

/// The call's name; `spawn` is a child without namespaces of its own, however the library makes it.
fn kind(call: &Call) -> &str {
    match call.name.as_str() {
        "clone" | "clone3" | "fork" | "vfork" if !call.text.contains("CLONE_NEW") => "spawn",
        name => name,
    }
}

/// What only reads, or changes nothing but the process that calls it.
const HARMLESS: &str = "\
    read pread64 readlink statx newfstatat statfs fstatfs getdents64 lseek access faccessat2 getcwd \
    mmap munmap mprotect mremap madvise brk close close_range dup dup2 dup3 pipe2 socketpair \
    poll rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack signalfd4 futex clock_nanosleep nanosleep \
    getrandom getpid getppid gettid getuid geteuid getgid getegid capget sched_getaffinity arch_prctl set_tid_address \
    set_robust_list rseq pause restart_syscall wait4 waitid exit exit_group pidfd_open umask chdir fchdir flock \
    recvfrom recvmsg";

/// Whether a call changes anything that others can see. Those that open do so by their flags; what was opened for writing may
/// be written.
fn changes(call: &Call) -> bool {
    let has = |parts: &[&str]| parts.iter().any(|part| call.text.contains(part));
    match call.name.as_str() {
        "open" | "openat" | "openat2" => has(&["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]),
        "fcntl" => !has(&[
            "F_GETFD",
            "F_SETFD",
            "F_GETFL",
            "F_SETFL",
            "F_DUPFD_CLOEXEC",
        ]),
        "ioctl" => !has(&["TCGETS", "TIOCGWINSZ", "FIONREAD"]),
        "prlimit64" => !has(&["NULL, {"]),
        "prctl" => !has(&["PR_GET_PDEATHSIG", "PR_GET_DUMPABLE"]),
        // Between the keeper and the inside, or to what was opened or inherited.
        "write" | "writev" | "sendto" | "sendmsg" => has(&["<NETLINK", "<UDP", "<TCP", "<PACKET"]),
        name => !HARMLESS.split_whitespace().any(|harmless| harmless == name),
    }
}

fn text<'a>(args: &'a Value, key: &str) -> &'a str {
    args[key].as_str().unwrap_or_default()
}

fn list(args: &Value) -> Vec<&str> {
    let all = args.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

/// `attr_set=…,` as `strace` prints it.
fn attributes(names: &[(&str, bool)]) -> String {
    let set = names.iter().filter(|(_, set)| *set);
    let set: Vec<_> = set.map(|(name, _)| format!("MOUNT_ATTR_{name}")).collect();
    format!("attr_set={},", set.join("|"))
}

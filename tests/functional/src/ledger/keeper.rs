//! What the keeper is seen to do for its items, and the processes that it starts.

use serde_json::Value;

use super::{Ledger, Times, list, text};

impl Ledger {
    pub(super) fn keeper(&mut self, op: &str, args: &Value, plan: &Value) -> bool {
        match op {
            // They are open.
            "take-sockets" | "take-credentials" => {}
            "take-ids" => {
                self.maybe("mkdir", &["\"/run/skua-ids\", 0700"]);
                self.often("fcntl", &["</run/skua-ids>, F_OFD_"]);
            }
            // Only reads, or asks plugins and systemctl, which are then seen to be executed.
            "find-cgroup" => self.program(Times::Maybe, "systemctl"),
            "load-network" => self.plugins(plan),
            "make-outlets" => {
                self.often("fchmod", &["<pipe:", ", 0222)"]);
                for stream in ["1", "2"] {
                    let path = format!("\"/proc/self/fd/{stream}\"");
                    self.maybe("openat", &[&path, "O_WRONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC"]);
                }
            }
            "make-skeleton" => {
                for call in ["mkdir", "openat", "chown", "lchown", "rename"] {
                    self.often(call, &["/skeleton"]);
                }
                for call in ["mkdir", "unlinkat"] {
                    self.often(call, &["/scratch-"]);
                }
            }
            "map-ids" => self.map_ids(args),
            "map-mounts" => self.map_mounts(plan),
            "open-tree" => self.open_tree(args, plan),
            "open-handed" => self.open_handed(),
            "make-directory" => {
                let (path, mode) = (text(args, "path"), text(args, "mode"));
                let path = format!("\"./{path}\"");
                // A sticky bit, and what the umask takes away, is set afterwards.
                let made = mode.get(mode.len() - 3..).unwrap_or_default();
                self.once("mkdir", &[&path, &format!(", 0{made})")]);
                self.maybe("chmod", &[&path, mode]);
                self.maybe("chown", &[&path]);
            }
            "make-device" => {
                let path = text(args, "path");
                self.often("mkdir", &["\"./devices"]);
                let number = |key| args["device"][key].as_u64().unwrap_or_default();
                let device = format!("makedev({:#x}, {:#x})", number("major"), number("minor"));
                self.once("mknodat", &[&format!("\"./{path}\""), &device]);
                self.once("chmod", &[&format!("\"./{path}\"")]);
            }
            "write-file" => self.write_file(text(args, "path")),
            "reopen-pipes" => self.often("fchmod", &["<pipe:", ", 06"]),
            "hold-network" | "wait" => {}
            "publish-port" => self.publish(args),
            "relay-terminal" => {
                // Into raw mode, and back.
                self.once("ioctl", &["ioctl(0</dev/pts/", "TCSETS"]);
                self.once("ioctl", &["ioctl(0</dev/pts/", "TCSETS"]);
                self.often("ioctl", &["/dev/pts/ptmx", "TIOCSWINSZ"]);
            }
            "add-network" => self.add_network(text(args, "name"), plan),
            _ => return self.cgroup(op, args) || self.afterwards(op, args, plan),
        }
        true
    }

    fn cgroup(&mut self, op: &str, args: &Value) -> bool {
        let group = format!("/skua-{}", self.id);
        match op {
            "make-cgroup" => {
                self.maybe("openat", &["\"./cgroup\"", "O_CREAT"]);
                self.maybe("mkdir", &[&format!("{group}\"")]);
                // Where the host does not let the caller.
                self.maybe("unlink", &["\"./cgroup\""]);
            }
            "pass-controllers" => {
                self.maybe("openat", &["/cgroup.subtree_control\""]);
                self.maybe("mkdir", &["/skua-keeper\""]);
                self.maybe("openat", &["/skua-keeper/cgroup.procs\""]);
            }
            "set-limit" => self.maybe("openat", &[&group, &format!("/{}\"", text(args, "file"))]),
            "divide-cgroup" => {
                for name in list(&args["groups"]) {
                    self.once("mkdir", &[&format!("{group}/{name}\"")]);
                    self.once("openat", &[&format!("{group}/{name}/cgroup.procs\"")]);
                }
                self.once("openat", &[&format!("{group}/cgroup.subtree_control\"")]);
            }
            "clone" => {
                self.once("clone3", &["CLONE_NEWUSER|CLONE_NEWPID"]);
                self.as_owner(args);
            }
            _ => return false,
        }
        true
    }

    /// The keeper is the owner of the pod's namespaces for a moment.
    fn as_owner(&mut self, args: &Value) {
        if args["owner"].is_u64() {
            self.once("setresuid", &["(-1, 0, -1)"]);
            self.once("setresuid", &["(-1, "]);
            self.once("capset", &["CAP_SYS_ADMIN"]);
            self.once("prctl", &["PR_SET_DUMPABLE"]);
            self.maybe("prctl", &["PR_SET_PDEATHSIG, SIGTERM"]);
        }
    }

    fn map_ids(&mut self, args: &Value) {
        if text(args, "by") == "programs" {
            for program in ["newuidmap", "newgidmap"] {
                self.program(Times::Once, program);
            }
            return;
        }
        self.once("openat", &["/proc/", "/uid_map\""]);
        self.once("openat", &["/proc/", "/gid_map\""]);
        self.maybe("openat", &["/proc/", "/setgroups\""]);
    }

    /// A process for each kind of tree, which ends at once: it is there only for its namespace.
    fn map_mounts(&mut self, plan: &Value) {
        let trees = plan["trees"].as_array().into_iter().flatten();
        let roles: Vec<_> = trees.map(|tree| text(tree, "role")).collect();
        for role in ["layer", "host-volume"] {
            if roles.contains(&role) {
                self.once("clone", &["flags=CLONE_VM|CLONE_PIDFD|CLONE_NEWUSER|"]);
                self.once("openat", &["/proc/", "/uid_map\""]);
                self.once("openat", &["/proc/", "/gid_map\""]);
            }
        }
    }

    /// Some plugins bind the port themselves.
    fn publish(&mut self, port: &Value) {
        let number = format!("htons({})", port["host_port"]);
        for family in ["AF_INET,", "AF_INET6,"] {
            self.maybe("socket", &[&format!("({family} SOCK_")]);
            self.maybe("bind", &[&format!("sa_family={family}"), &number]);
        }
        self.maybe("setsockopt", &["IPV6_V6ONLY, [1]"]);
    }

    fn write_file(&mut self, path: &str) {
        self.once(
            "openat",
            &[&format!("\"./{path}"), "O_WRONLY|O_CREAT|O_TRUNC"],
        );
        self.maybe("rename", &[&format!("\"./{path}.new\", \"./{path}\"")]);
    }

    /// How many plugins a network has is not in the plan; which programs they are is.
    fn plugins(&mut self, plan: &Value) {
        let items = plan["items"].as_array().into_iter().flatten();
        let path = items.flat_map(|item| list(&item["args"]["plugin_path"]));
        for directory in path.collect::<Vec<_>>() {
            self.often("execve", &[&format!("execve(\"{directory}/")]);
        }
        self.often("memfd_create", &["\"cni\""]);
        self.often("spawn", &[]);
        self.often("setpgid", &["setpgid(0, 0)"]);
        self.often("prctl", &["PR_SET_PDEATHSIG, SIGKILL"]);
        self.often("kill", &["kill(-", "SIGKILL"]);
    }

    fn add_network(&mut self, name: &str, plan: &Value) {
        self.maybe("mkdir", &["\"./net\""]);
        let record = format!("\"./net/{name}.json");
        self.often("openat", &[&format!("{record}.new\"")]);
        self.often("rename", &[&format!("{record}.new\", {record}\"")]);
        self.plugins(plan);
    }

    fn afterwards(&mut self, op: &str, args: &Value, plan: &Value) -> bool {
        let group = format!("/skua-{}", self.id);
        match op {
            "del-network" => {
                let record = format!("\"./net/{}.json\"", text(args, "name"));
                self.once("unlink", &[&record]);
                self.plugins(plan);
            }
            "remove-cgroup" => {
                self.often("rmdir", &[&group]);
                self.maybe("rmdir", &["/skua-keeper\""]);
                self.often("openat", &[&group, "/cgroup.kill\""]);
            }
            "move-pod" => {
                let (from, to) = (format!("/run/{}\"", self.id), text(args, "state"));
                self.once("rename", &[&from, &format!("/{to}/{}\"", self.id)]);
            }
            "remove-pod" => self.remove_pod(),
            _ => return false,
        }
        true
    }

    fn remove_pod(&mut self) {
        let within = format!("/exited-garbage/{}", self.id);
        for call in ["unlinkat", "rmdir", "unlink", "chmod", "fchmodat"] {
            self.often(call, &[&within]);
        }
        // A child that is root of the pod's user namespace.
        self.maybe("clone3", &["flags=CLONE_PIDFD|CLONE_NEWUSER, "]);
        for file in ["uid_map", "gid_map", "setgroups"] {
            self.maybe("openat", &["/proc/", &format!("/{file}\"")]);
        }
        for program in ["newuidmap", "newgidmap"] {
            self.program(Times::Maybe, program);
        }
        self.becomes_root(Times::Maybe);
    }

    /// A program that is started with its standard streams put in place.
    fn program(&mut self, times: Times, name: &str) {
        self.add(times, "spawn", &[]);
        self.add(times, "execve", &[&format!("/{name}\"")]);
        self.often("openat", &["\"/dev/null\""]);
        self.maybe("prctl", &["PR_SET_PDEATHSIG, SIGKILL"]);
    }
}

//! What the inside is seen to do for its items.

use std::path::Path;

use serde_json::Value;

use super::{Ledger, Times, attributes, list, text};

/// In the order in which `strace` prints them.
const NAMESPACES: [(&str, &str); 5] = [
    ("mount", "CLONE_NEWNS"),
    ("cgroup", "CLONE_NEWCGROUP"),
    ("uts", "CLONE_NEWUTS"),
    ("ipc", "CLONE_NEWIPC"),
    ("network", "CLONE_NEWNET"),
];

impl Ledger {
    pub(super) fn inside(&mut self, op: &str, args: &Value, plan: &Value) -> bool {
        match op {
            "make-namespaces" => self.separates(args),
            "become-root" => self.becomes_root(Times::Once),
            "open-tree" => self.open_tree(args, plan),
            "open-handed" => self.open_handed(),
            "private-mounts" => self.once("mount", &["mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE"]),
            "loopback-up" => {
                self.once("socket", &["AF_INET, SOCK_DGRAM"]);
                self.once(
                    "ioctl",
                    &["SIOCSIFFLAGS, {ifr_name=\"lo\", ifr_flags=IFF_UP"],
                );
            }
            "hostname" => {
                let name = args.as_str().expect("a name");
                self.once("sethostname", &[&format!("\"{name}\"")]);
            }
            "link" => {
                let target = self.target(&args["target"]);
                let (parent, name) = target.rsplit_once('/').map_or_else(
                    || (String::new(), String::new()),
                    |(parent, name)| (parent.to_owned(), name.to_owned()),
                );
                let to = format!("\"{}\"", text(args, "to"));
                let parent = self.at(&parent);
                self.once("symlinkat", &[&to, &parent, &format!("\"{name}\"")]);
            }
            "sysctl" => {
                let file = text(args, "name").replace('.', "/");
                self.once("openat2", &[&format!("\"proc/sys/{file}\""), "O_RDWR"]);
            }
            "terminal" => {
                self.once("openat", &["\"ptmx\"", "O_RDWR"]);
                self.once("ioctl", &["TIOCSPTLCK"]);
                self.once("ioctl", &["TIOCGPTPEER"]);
                self.maybe("ioctl", &["/dev/pts/ptmx", "TIOCSWINSZ"]);
            }
            "read-only-root" => {
                let root = self.at(self.root_of(text(args, "name")));
                self.once("mount_setattr", &[&root, "attr_set=MOUNT_ATTR_RDONLY,"]);
            }
            "pivot" => {
                if args == "private" {
                    let root = self.at("root");
                    self.once("mount_setattr", &[&root, "attr_set=MOUNT_ATTR_RDONLY,"]);
                }
                self.once("pivot_root", &["(\".\", \".\")"]);
                self.once("umount2", &["(\".\", MNT_DETACH)"]);
            }
            // Into what was opened before; not done.
            "fill-files" | "leave-unmasked" => {}
            "start-builder" => self.once("spawn", &[]),
            "execute-stage2" => self.once("execveat", &["[\"skua-stage2\", \"run\""]),
            _ => return self.stage(op, args) || self.mounted(op, args),
        }
        true
    }

    /// The staging directory.
    fn stage(&mut self, op: &str, args: &Value) -> bool {
        match op {
            "staging" => self.staging(),
            "private-root" => self.private_root(),
            "stage-handed" => {
                for name in ["handed-apps", "handed-status"] {
                    self.once("mkdirat", &[&self.at(""), &format!("\"{name}\", 0700")]);
                    self.attach(name);
                }
                self.once("openat", &["\"handed-stage2\"", "O_CREAT|O_EXCL"]);
                self.attach("handed-stage2");
            }
            "stage-directory" => {
                let name = args.as_str().expect("a name");
                self.once("mkdirat", &[&self.at(""), &format!("\"{name}\", 0755")]);
            }
            "stage-file" => {
                let name = args
                    .as_str()
                    .expect("a name")
                    .replace("resolv-conf", "resolv.conf");
                let parts = [self.at(""), format!("\"{name}\"")];
                self.once("openat", &[&parts[0], &parts[1], "O_CREAT|O_EXCL"]);
            }
            "stage-tree" => self.attach(text(args, "at")),
            "set-owner" => {
                let (at, ids) = (text(args, "at"), [&args["uid"], &args["gid"]]);
                let ids = format!("\"\", {}, {}, AT_EMPTY_PATH", ids[0], ids[1]);
                self.once("fchownat", &[&self.at(at), &ids]);
            }
            "stage-mount" => {
                self.new_mount(&args["mount"]);
                self.attach(text(args, "at"));
            }
            "stage-image" => {
                let at = format!("mount(\"overlay\", \"{}\", \"overlay\"", text(args, "at"));
                let lower = format!("\"userxattr,lowerdir={}\"", list(&args["lower"]).join(":"));
                self.once("mount", &[&at, "MS_NOSUID|MS_NODEV", &lower]);
            }
            _ => return false,
        }
        true
    }

    /// What apps see.
    fn mounted(&mut self, op: &str, args: &Value) -> bool {
        match op {
            "overlay" => {
                let at = text(args, "at");
                if let Some(home) = at.strip_suffix("/rootfs") {
                    for path in [home, at] {
                        self.once("mkdirat", &[&self.at(""), &format!("\"{path}\"")]);
                    }
                }
                let name = text(&args["app"], "name").to_owned();
                self.roots.insert(name, at.to_owned());
                let at = format!("\"{at}\"");
                let options = format!(
                    "\"userxattr,volatile,lowerdir={},upperdir={},workdir={}\"",
                    list(&args["lower"]).join(":"),
                    text(args, "upper"),
                    text(args, "work")
                );
                self.once("mount", &[&at, "MS_NOSUID|MS_NODEV", &options]);
            }
            "mount" => {
                self.source(&args["source"]);
                let target = self.target(&args["target"]);
                let root = self.root_of(text(&args["target"]["app"], "name")).len();
                self.place(&target, root);
                self.attach(&target);
            }
            "mask" | "read-only" => self.hidden(op, args),
            _ => return false,
        }
        true
    }

    /// Where the kernel has it: the pod's `/proc` and `/sys` have what ours have.
    fn hidden(&mut self, op: &str, args: &Value) {
        let hidden = Path::new(text(args, "path"));
        if !hidden.exists() {
            return;
        }
        let target = self.target(args);
        let (from, name) = match op {
            "mask" if hidden.is_dir() => (self.at(""), "\"empty\""),
            "mask" => (self.at(""), "\"nothing\""),
            _ => (self.at(&target), "\"\""),
        };
        self.once("open_tree", &[&from, name, "OPEN_TREE_CLONE"]);
        let flags = [
            ("RDONLY", true),
            ("NOSUID", true),
            ("NODEV", true),
            ("NOEXEC", true),
        ];
        self.once("mount_setattr", &["</>", &attributes(&flags)]);
        self.attach(&target);
    }

    fn staging(&mut self) {
        self.file_system("tmpfs", &[("mode", "0700")], false);
        self.attach("");
        for name in ["\"root\"", "\"empty\""] {
            self.once("mkdirat", &[&self.at(""), name]);
        }
        self.once("openat", &["\"nothing\"", "O_CREAT|O_EXCL"]);
    }

    fn private_root(&mut self) {
        self.once("open_tree", &[&self.at(""), "\"root\"", "OPEN_TREE_CLONE"]);
        let flags = attributes(&[("NOSUID", true), ("NODEV", true)]);
        self.once("mount_setattr", &["</>", &flags]);
        self.attach("root");
        self.once("mkdirat", &[&self.at("root"), "\"apps\""]);
    }

    /// The root of an app, below the staging directory.
    fn root_of(&self, app: &str) -> &str {
        self.roots.get(app).map_or("", String::as_str)
    }

    /// The place in the root of an app, below the staging directory.
    fn target(&self, args: &Value) -> String {
        let root = self.root_of(text(&args["app"], "name"));
        format!("{root}{}", text(args, "path"))
    }

    /// A mount gets its place, `path` below the staging directory.
    fn attach(&mut self, path: &str) {
        let at = format!("{}, \"\", MOVE_MOUNT", self.at(path));
        self.once("move_mount", &[&at]);
    }

    /// Directories, and at the end a directory or file, that a mount needs where the image has none: below the first `root`
    /// bytes.
    fn place(&mut self, target: &str, root: usize) {
        let parts = target.match_indices('/').map(|(at, _)| at);
        for at in parts.filter(|at| *at >= root) {
            let (parent, name) = (&target[..at], target[at + 1..].split('/').next());
            let name = format!("\"{}\"", name.unwrap_or_default());
            let parent = self.at(parent);
            self.maybe("mkdirat", &[&parent, &name]);
            if target.len() == at + name.len() - 1 {
                self.maybe("openat", &[&parent, &name, "O_WRONLY|O_CREAT|O_EXCL"]);
            }
        }
    }

    fn source(&mut self, source: &Value) {
        if let Some(mount) = source.get("new") {
            self.new_mount(mount);
        } else if let Some(credentials) = source.get("credentials") {
            self.file_system("ramfs", &[("mode", "0500")], false);
            for credential in credentials.as_array().into_iter().flatten() {
                let name = format!("\"{}\"", text(credential, "name"));
                let flags = "O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0400";
                self.once("openat", &[&name, flags]);
            }
        } else if let Some(staged) = source.get("staged") {
            let flags = [
                ("RDONLY", staged["read_only"] == true),
                ("NOSUID", true),
                ("NODEV", true),
                ("NOEXEC", staged["no_exec"] == true),
            ];
            let name = format!("\"{}\"", text(staged, "path"));
            self.once("open_tree", &[&self.at(""), &name, "OPEN_TREE_CLONE"]);
            self.once("mount_setattr", &["</>", &attributes(&flags)]);
        } else if let Some(device) = source.get("device") {
            let from = &device["from"];
            let of_host = from.get("host").or(from.get("host-usable"));
            if let Some(path) = of_host.and_then(Value::as_str) {
                self.once("open_tree", &[&format!("\"{path}\""), "OPEN_TREE_CLONE"]);
                let flags = attributes(&[("NOSUID", true), ("NOEXEC", true)]);
                self.once("mount_setattr", &["</>", &flags]);
            }
        }
    }

    fn new_mount(&mut self, mount: &Value) {
        let options = mount["options"].as_array().into_iter().flatten();
        let options: Vec<_> = options
            .map(|pair| {
                (
                    pair[0].as_str().unwrap_or(""),
                    pair[1].as_str().unwrap_or(""),
                )
            })
            .collect();
        self.file_system(text(mount, "kind"), &options, mount["read_only"] == true);
    }

    fn file_system(&mut self, kind: &str, options: &[(&str, &str)], read_only: bool) {
        self.once("fsopen", &[&format!("\"{kind}\"")]);
        for (key, value) in options {
            let option = format!("FSCONFIG_SET_STRING, \"{key}\", \"{value}\"");
            self.once("fsconfig", &[&option]);
        }
        self.once("fsconfig", &["FSCONFIG_CMD_CREATE"]);
        let flags = [
            ("RDONLY", read_only),
            ("NOSUID", true),
            ("NODEV", kind != "devpts"),
            ("NOEXEC", kind != "tmpfs"),
        ];
        let set = attributes(&flags);
        let set = set.trim_start_matches("attr_set=").trim_end_matches(',');
        self.once("fsmount", &[&format!("FSMOUNT_CLOEXEC, {set})")]);
    }

    pub(super) fn open_tree(&mut self, args: &Value, plan: &Value) {
        let (path, role) = (text(args, "path"), text(args, "role"));
        let keeper = plan["items"].as_array().into_iter().flatten();
        let keeper = keeper.clone().any(|item| item["op"] == "map-mounts");
        // A volume is opened first, and what was opened is what becomes a mount.
        let path = match role {
            "host-volume" => format!("{path}>, \"\""),
            _ => format!("\"{path}\""),
        };
        self.once("open_tree", &[&path, "OPEN_TREE_CLONE"]);
        let flags = [
            ("RDONLY", args["read_only"] == true),
            ("NOSUID", true),
            ("NODEV", role != "device"),
            (
                "NOEXEC",
                args["no_exec"] == true || matches!(role, "host-sys" | "device"),
            ),
            ("IDMAP", keeper && matches!(role, "layer" | "host-volume")),
        ];
        self.once("mount_setattr", &["</>", &attributes(&flags)]);
        if role == "device" {
            let flags = "attr_set=0, attr_clr=MOUNT_ATTR_NODEV";
            self.once("mount_setattr", &["</>", flags]);
        }
    }

    pub(super) fn open_handed(&mut self) {
        for (path, read_only, no_exec) in [
            ("\"apps\"", true, true),
            ("\"status\"", false, true),
            ("skua-stage2\"", true, false),
        ] {
            self.once("open_tree", &[path, "OPEN_TREE_CLONE"]);
            let flags = [
                ("RDONLY", read_only),
                ("NOSUID", true),
                ("NODEV", true),
                ("NOEXEC", no_exec),
            ];
            self.once("mount_setattr", &["</>", &attributes(&flags)]);
        }
    }

    fn separates(&mut self, args: &Value) {
        let names = list(&args["namespaces"]);
        let flags = NAMESPACES.iter().filter(|(name, _)| names.contains(name));
        let flags: Vec<_> = flags.map(|(_, flag)| *flag).collect();
        self.once("setsid", &[]);
        self.once("unshare", &[&format!("unshare({}", flags.join("|"))]);
    }

    pub(super) fn becomes_root(&mut self, times: Times) {
        self.maybe("setgroups", &["setgroups(0, [])"]);
        self.add(times, "setresgid", &["(0, 0, 0)"]);
        self.add(times, "setresuid", &["(0, 0, 0)"]);
        self.add(times, "prctl", &["PR_SET_PDEATHSIG, SIGKILL"]);
    }
}

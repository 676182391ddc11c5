//! A pod without stage0 and stage1: directories, namespaces by `unshare`, a root of busybox.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// Builds the pod's root and becomes stage2. Arguments: the directory, stage2's options and the apps.
const INSIDE: &str = r#"
set -e
T=$1; shift; mount -t tmpfs x $T/root; cp $T/stage2 $T/root/stage2
for app in $T/apps/*; do
  R=$T/root/apps/$(basename $app)/rootfs; mkdir -p $R; mount -t tmpfs y $R
  mkdir -p $R/bin $R/etc $R/proc $R/dev $R/tmp; cp $T/busybox $R/bin/busybox
  for name in sh ls cat env id echo true sleep grep ps kill mkdir readlink tr wc pwd; do ln -s busybox $R/bin/$name; done
  printf 'root:x:0:0::/root:/bin/sh\nwww:x:33:34::/var/www:/bin/sh\nover:x:4294967296:0::/:\n' > $R/etc/passwd
  printf 'root:x:0:\nwww:x:34:\nadm:x:4:www\n' > $R/etc/group
  touch $R/dev/null; mount --bind /dev/null $R/dev/null; mount -t proc proc $R/proc
  cd $R; sh -e $T/prepare; cd /
done
mkdir $T/root/old; cd $T/root; pivot_root . old
B=/apps/a/rootfs/bin/busybox
exec $B sh -c 'B=$0; $B umount -l /old; $B rmdir /old; exec /stage2 run "$@"' $B "$@"
"#;

/// The `app.json` of an app that runs as user 0 of a map of one id.
pub(crate) fn app(name: &str, argv: &[&str]) -> Value {
    let (uid, gid) = own_ids();
    json!({
        "version": 1, "name": name, "root": format!("/apps/{name}/rootfs"), "argv": argv,
        "environment": ["PATH=/bin"], "user": "", "group": null, "supplementary_groups": [],
        "working_directory": "/", "stop_signal": 15, "terminal": false, "stdin": false,
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "ambient": []},
        "no_new_privileges": true, "seccomp": null, "rlimits": [],
        "landlock": {"files": false, "writable": [], "scope_abstract_sockets": false},
        "process": {"umask": 18, "nice": null, "oom_score_adj": null},
        "labels": {"apparmor": null, "selinux": null},
        "id_map": {
            "uids": [{"inside": 0, "host": uid, "count": 1}],
            "gids": [{"inside": 0, "host": gid, "count": 1}],
        },
        "mounts": [{"path": "/proc", "file_system": "proc", "read_only": false}],
        "volumes": [],
    })
}

/// A pod that has not been started.
pub(crate) struct Pod {
    /// The contents of each `app.json`, in order; the first is named `a`.
    pub(crate) apps: Vec<Value>,
    /// Shell commands that change an app's root, which is the working directory.
    pub(crate) prepare: String,
    /// Shell commands before stage2, in its process.
    pub(crate) before: String,
    /// Further options, with blanks between them.
    pub(crate) options: String,
    /// The keeper has ended already.
    pub(crate) keeper_gone: bool,
    filters: Vec<(String, Vec<u8>)>,
}

/// A pod that runs.
pub(crate) struct Started {
    directory: tempfile::TempDir,
    child: Child,
    _keeper: Option<std::io::PipeWriter>,
}

/// How a pod ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status_files: Vec<String>,
    statuses: Vec<(String, Value)>,
}

impl Pod {
    pub(crate) fn new(apps: &[Value]) -> Self {
        Self {
            apps: apps.to_vec(),
            prepare: String::new(),
            before: String::new(),
            options: String::new(),
            keeper_gone: false,
            filters: Vec::new(),
        }
    }

    /// Gives an app a seccomp program.
    pub(crate) fn filter(&mut self, name: &str, bytes: &[u8]) {
        for app in &mut self.apps {
            if app["name"] == name {
                app["seccomp"] = json!("seccomp.bpf");
            }
        }
        self.filters.push((name.to_owned(), bytes.to_vec()));
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> End {
        self.start().wait()
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Started {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let names = self.write(path);
        // The keeper's pipe comes as standard input and becomes descriptor 9.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let keeper = (!self.keeper_gone).then_some(writer);
        let outer = format!(
            "exec 7<\"$1\"/apps 8<\"$1\"/status 9<&0 </dev/null; {}\n\
             exec timeout -s KILL 30 unshare -Urmpf --kill-child bash -c \"$2\" bash \"$@\"",
            self.before
        );
        let mut command = Command::new("bash");
        command
            .args(["-c", &outer, "bash"])
            .arg(path)
            .arg(INSIDE.replace("shift;", "shift 2;"))
            .args("--apps-fd 7 --status-fd 8 --keeper-fd 9 --stop-timeout 1".split(' '))
            .args(self.options.split_whitespace())
            .args(&names)
            .stdin(reader)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().expect("bash");
        Started {
            directory,
            child,
            _keeper: keeper,
        }
    }

    fn write(&self, path: &Path) -> Vec<String> {
        for name in ["apps", "status", "root"] {
            fs::create_dir(path.join(name)).expect("a directory");
        }
        fs::copy(env!("CARGO_BIN_EXE_skua-stage2"), path.join("stage2")).expect("stage2");
        fs::copy("/bin/busybox", path.join("busybox")).expect("busybox");
        fs::write(path.join("prepare"), &self.prepare).expect("a script");
        let mut names = Vec::new();
        for (at, app) in self.apps.iter().enumerate() {
            let name = char::from(b'a' + u8::try_from(at).expect("few apps")).to_string();
            let apps = path.join("apps").join(&name);
            fs::create_dir(&apps).expect("a directory");
            fs::write(apps.join("app.json"), app.to_string()).expect("app.json");
            if let Some((_, bytes)) = self.filters.iter().find(|(of, _)| *of == name) {
                fs::write(apps.join("seccomp.bpf"), bytes).expect("a filter");
            }
            names.push(name);
        }
        names
    }
}

impl Started {
    /// The pid of the pod's pid 1, out here: the descendant that has become stage2.
    pub(crate) fn pid_1(&self) -> i32 {
        eventually(|| {
            let mut pid = i32::try_from(self.child.id()).ok()?;
            loop {
                let children = format!("/proc/{pid}/task/{pid}/children");
                pid = fs::read_to_string(children)
                    .ok()?
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()?;
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
                if name.trim() == "stage2" {
                    return Some(pid);
                }
            }
        })
    }

    /// Sends a signal to pid 1, from outside.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid_1().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until an app shows up below pid 1.
    pub(crate) fn until_running(&self, comm: &str) {
        let children = format!("/proc/{0}/task/{0}/children", self.pid_1());
        eventually(|| {
            let pids = fs::read_to_string(&children).ok()?;
            pids.split_whitespace()
                .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok())
                .any(|name| name.trim() == comm)
                .then_some(())
        });
    }

    /// Its end.
    pub(crate) fn wait(self) -> End {
        let Output {
            status,
            stdout,
            stderr,
        } = self.child.wait_with_output().expect("an end");
        let mut statuses = Vec::new();
        let mut status_files = Vec::new();
        for entry in fs::read_dir(self.directory.path().join("status")).expect("status") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".ids.json") {
                continue;
            }
            status_files.push(name);
            let value = serde_json::from_reader(File::open(&path).expect("a status"));
            statuses.push((
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                value.expect("JSON"),
            ));
        }
        status_files.sort();
        End {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            status_files,
            statuses,
        }
    }
}

impl End {
    pub(crate) fn status(&self, app: &str) -> &Value {
        let found = self.statuses.iter().find(|(name, _)| name == app);
        &found
            .unwrap_or_else(|| panic!("no status of {app}: {self:?}"))
            .1
    }
}

fn eventually<T>(mut question: impl FnMut() -> Option<T>) -> T {
    for _ in 0..4000 {
        if let Some(answer) = question() {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("nothing within 20 s");
}

fn own_ids() -> (u32, u32) {
    let own = fs::metadata("/proc/self").expect("/proc");
    (own.uid(), own.gid())
}

/// A filter with which mkdir(2) fails with EPERM and everything else is allowed.
pub(crate) fn filter_that_denies_mkdir() -> Vec<u8> {
    let mkdir = if cfg!(target_arch = "x86_64") { 83 } else { 34 };
    let program: [(u16, u8, u8, u32); 4] = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, mkdir),
        (0x06, 0, 0, 0x0005_0001),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let mut bytes = Vec::new();
    for (code, if_true, if_false, operand) in program {
        bytes.extend(code.to_ne_bytes());
        bytes.extend([if_true, if_false]);
        bytes.extend(operand.to_ne_bytes());
    }
    bytes
}

/// Says why a test cannot run here, if it cannot.
pub(crate) fn skip_reason(test: &str) -> bool {
    let reason = if !Path::new("/bin/busybox").exists() {
        "needs busybox-static"
    } else if !Command::new("unshare")
        .args(["-Urmpf", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        "needs user namespaces"
    } else {
        return false;
    };
    let _ = writeln!(std::io::stderr().lock(), "skipped: stage2 {test}: {reason}");
    true
}

//! What stage2 makes of an app: every field of its file, with who asked for it.

use pod::{
    APP_NOTIFY_SOCKET, App, AppFile, Capability, InsecureOption, LandlockRules, Origin,
    PodManifest, ProcessAttributes, Rlimit, SecurityLabels,
};
use serde_json::{Value, json};

use super::{Item, Process};
use crate::plan::{Plan, insecure};

/// What no app has, and stage2 has for itself.
pub(super) fn first(manifest: &PodManifest) -> Item {
    let text = "be pid 1: nobody in the pod may trace it or read its memory, all signals are blocked and waited for, killed when \
                the keeper is gone, with a saved group that no process of the pod equals, if it has more than one";
    let apps: Vec<_> = manifest.apps.iter().map(|app| app.name.as_str()).collect();
    Item::new(Process::Stage2, "harden", json!({"apps": apps}), text)
}

/// When the apps run.
pub(super) fn last(manifest: &PodManifest) -> [Item; 2] {
    let text = "when the apps run, keep CAP_KILL alone; reap them, and write status/<app>.json at the end of each";
    let kept = json!({"capabilities": [Capability::Kill]});
    let seconds = manifest.stop_timeout;
    let stop = format!(
        "when the pod is to end: the stop signal of each app, SIGKILL to all {seconds} seconds later"
    );
    let stop = Item::new(Process::Stage2, "stop-timeout", json!(seconds), stop);
    [
        Item::new(Process::Stage2, "keep-capabilities", kept, text),
        stop.by(manifest.origins.of("stop_timeout")),
    ]
}

/// What would be masked or read-only, and is not.
pub(super) fn unmasked(manifest: &PodManifest) -> Vec<Item> {
    let left = |args, text: String| {
        let item = Item::new(Process::Inside, "leave-unmasked", args, text);
        item.by(Origin::CommandLine)
    };
    if insecure(manifest, InsecureOption::Paths) {
        let text = "leave all of /proc and /sys as the kernel has it";
        return vec![left(json!({"app": null, "path": null}), text.to_owned())];
    }
    let of_app = |app: &App| {
        let name = app.name.clone();
        let one = move |path: &String| {
            let text = format!("leave {} of app {name} as the kernel has it", quoted(path));
            left(json!({"app": name, "path": path}), text)
        };
        app.unmasked.iter().map(one).collect::<Vec<_>>()
    };
    manifest.apps.iter().flat_map(of_app).collect()
}

/// The items of one app, in the order in which stage2 does them. A field that is added to the file does not compile here
/// until somebody decides where it is explained.
pub(super) fn items(manifest: &PodManifest, plan: &Plan, app: &App, file: &AppFile) -> Vec<Item> {
    let AppFile {
        version: _,
        name,
        root: _,
        terminal: _,
        stdin: _,
        rlimits: _,
        working_directory: _,
        user: _,
        group: _,
        supplementary_groups: _,
        id_map: _,
        mounts: _,
        capabilities: _,
        no_new_privileges: _,
        landlock: _,
        seccomp: _,
        process: _,
        labels: _,
        volumes: _,
        environment: _,
        argv: _,
        stop_signal: _,
        sockets: _,
        credentials: _,
        notify: _,
    } = file;
    let mut list = List {
        name: name.as_str(),
        app,
        items: Vec::new(),
    };
    if plan.limits.by_app() {
        let group = format!("app-{name}");
        let text = format!("join cgroup {group} of the pod");
        list.add("join-cgroup", "", json!(group), text);
    }
    surroundings(&mut list, file);
    identity(&mut list, file);
    credentials(&mut list, file);
    confinement(&mut list, file, manifest);
    program(&mut list, file);
    list.items
}

fn surroundings(list: &mut List<'_>, file: &AppFile) {
    let root = &file.root;
    let text = match root.as_str() {
        "/" => "stay in the root, in the mount namespace of pid 1".to_owned(),
        root => format!("enter the root {root}, in a mount namespace of its own"),
    };
    list.add("enter-root", "", json!(root), text);
    let text = "begin a session without a terminal, and a session keyring";
    list.add("session", "", Value::Null, text);
    let streams = json!({"stdin": file.stdin, "terminal": file.terminal});
    list.add("streams", "stdin", streams, self::streams(file));
    sockets(list, file);
    for limit in &file.rlimits {
        list.add("rlimit", "rlimits", json!(limit), rlimit(limit));
    }
    attributes(list, file);
    let directory = &file.working_directory;
    let text = format!("working directory {}", quoted(directory));
    list.add(
        "working-directory",
        "working_directory",
        json!(directory),
        text,
    );
}

fn sockets(list: &mut List<'_>, file: &AppFile) {
    if file.sockets.is_empty() {
        return;
    }
    let names = file.sockets.iter().map(|name| quoted(name.as_str()));
    let names = names.collect::<Vec<_>>().join(", ");
    let text = format!("sockets of the unit from descriptor 3 on, as LISTEN_FDS says: {names}");
    list.add("sockets", "sockets", json!(file.sockets), text);
}

fn identity(list: &mut List<'_>, file: &AppFile) {
    let user = match file.user.as_str() {
        "" => "0",
        given => given,
    };
    list.add(
        "user",
        "user",
        json!(user),
        format!("user {}", quoted(user)),
    );
    if let Some(group) = &file.group {
        let text = format!("group {}", quoted(group));
        list.add("group", "group", json!(group), text);
    }
    let groups = &file.supplementary_groups;
    if !groups.is_empty() {
        let text = format!("further groups {}", words(groups));
        list.add(
            "supplementary-groups",
            "supplementary_groups",
            json!(groups),
            text,
        );
    }
}

fn credentials(list: &mut List<'_>, file: &AppFile) {
    if file.credentials.is_empty() {
        return;
    }
    let names = file.credentials.iter().map(|name| quoted(name.as_str()));
    let names = names.collect::<Vec<_>>().join(", ");
    let path = pod::CREDENTIALS_PATH;
    let text = format!("give {path} to its user alone, read-only: {names}");
    list.add("credentials", "credentials", json!(file.credentials), text);
}

fn confinement(list: &mut List<'_>, file: &AppFile, manifest: &PodManifest) {
    let paths = file.mounts.iter().map(|check| check.path.as_str());
    let paths = paths.collect::<Vec<_>>().join(", ");
    let text = format!("check what is mounted on {paths}, and the id map");
    list.add("check-mounts", "", json!(file.mounts), text);
    for volume in &file.volumes {
        let text = format!("check the volume on {}", quoted(&volume.path));
        let origin = list.app.origins.of_element("mounts", &volume.path);
        list.push("check-volume", origin, json!(volume), &text);
    }
    let ids: u64 = file.id_map.uids.iter().map(|e| u64::from(e.count)).sum();
    if ids == 1 {
        let text = "with other ids than 0: a user namespace in which they are the pod's 0";
        list.add("nest", "user", Value::Null, text);
    }
    let held = &file.capabilities.bounding;
    let text = format!("hold at most {}", names(held));
    list.add("capabilities", "capabilities", json!(held), text);
    let ambient = &file.capabilities.ambient;
    if !ambient.is_empty() {
        // Stage2 finds out whom a name means.
        let text = match file.user.as_str() {
            user if user.is_empty() || user.parse() == Ok(0_u32) => {
                "raise nothing as ambient: user 0 has what it may hold".to_owned()
            }
            user if user.parse::<u32>().is_ok() => format!("raise as ambient {}", names(ambient)),
            _ => format!(
                "raise as ambient, if its user is not 0, who has what it may hold: {}",
                names(ambient)
            ),
        };
        list.add("ambient", "ambient", json!(ambient), text);
    }
    let text = match file.no_new_privileges {
        true => "no new privileges by exec",
        false => "new privileges by exec are possible",
    };
    let value = json!(file.no_new_privileges);
    list.add("no-new-privileges", "no_new_privileges", value, text);
    landlock(list, file, manifest);
    let choice = json!({"choice": list.app.seccomp, "filter": file.seccomp});
    let text = filter(list.app);
    list.add("seccomp", "seccomp", choice, text);
    let text = "read credentials, capabilities, no_new_privs and seccomp mode back, and refuse if one differs";
    list.add("read-back", "", Value::Null, text);
}

fn attributes(list: &mut List<'_>, file: &AppFile) {
    let ProcessAttributes {
        umask,
        nice,
        oom_score_adj,
    } = file.process;
    let text = format!("umask {umask:04o}");
    list.add("umask", "umask", json!(umask), text);
    if let Some(nice) = nice {
        list.add("nice", "nice", json!(nice), format!("nice value {nice}"));
    }
    if let Some(score) = oom_score_adj {
        let text = format!("oom_score_adj {score}");
        list.add("oom-score-adj", "oom_score_adj", json!(score), text);
    }
}

fn landlock(list: &mut List<'_>, file: &AppFile, manifest: &PodManifest) {
    let LandlockRules {
        files,
        writable,
        scope_abstract_sockets,
    } = &file.landlock;
    let mut rules = Vec::new();
    if *files {
        rules.push("no files outside the root".to_owned());
    }
    if !writable.is_empty() {
        let paths = writable.iter().map(|path| quoted(path));
        let paths = paths.collect::<Vec<_>>().join(", ");
        rules.push(format!("nothing writable but {paths}"));
    }
    if *scope_abstract_sockets {
        rules.push("no abstract sockets from outside the app".to_owned());
    }
    let text = match rules.is_empty() {
        true => "no Landlock domain".to_owned(),
        false => format!("Landlock domain: {}", rules.join("; ")),
    };
    let origin = match insecure(manifest, InsecureOption::Landlock) {
        true => Origin::CommandLine,
        // Who may mount has no domain for files.
        false if !files => list.app.origins.of("capabilities"),
        false => Origin::BuiltIn,
    };
    list.push("landlock", origin, json!(file.landlock), &text);
    let SecurityLabels { apparmor, selinux } = &file.labels;
    let labels = [("apparmor", apparmor), ("selinux", selinux)];
    for (name, label) in labels {
        if let Some(label) = label {
            let text = format!("execute under {name} label {}", quoted(label));
            list.add("label", name, json!({name: label}), text);
        }
    }
}

fn program(list: &mut List<'_>, file: &AppFile) {
    for variable in &file.environment {
        let name = variable.split('=').next().unwrap_or_default();
        let origin = list.app.origins.of_element("environment", name);
        let text = format!("environment {}", quoted(variable));
        list.push("environment", origin, json!(variable), &text);
    }
    let missing = |name: &&str| {
        let given = |variable: &String| variable.split('=').next() == Some(*name);
        !file.environment.iter().any(given)
    };
    let missing: Vec<_> = ["HOME", "USER"].into_iter().filter(missing).collect();
    if !missing.is_empty() {
        let text = format!("environment {} of its user", missing.join(" and "));
        list.add("environment-of-user", "user", json!(missing), text);
    }
    if let Some(notify) = &file.notify {
        let text = format!(
            "environment NOTIFY_SOCKET={APP_NOTIFY_SOCKET}, where only it can tell pid 1 how it goes: the pod is not ready before READY=1"
        );
        list.add("notify", "notify", json!(notify), text);
    }
    let text = format!("execute {}", words(&file.argv));
    list.add("execute", "argv", json!(file.argv), text);
    let signal = file.stop_signal;
    let text = format!("stop with signal {signal}");
    list.add("stop-signal", "stop_signal", json!(signal), text);
}

struct List<'a> {
    name: &'a str,
    app: &'a App,
    items: Vec<Item>,
}

impl List<'_> {
    /// Adds what `field` of the manifest leads to; without one it is built in.
    fn add(&mut self, op: &str, field: &str, args: Value, text: impl AsRef<str>) {
        self.push(op, self.app.origins.of(field), args, text.as_ref());
    }

    fn push(&mut self, op: &str, origin: Origin, args: Value, text: &str) {
        let args = json!({"app": self.name, "value": args});
        let text = format!("{}: {text}", self.name);
        let item = Item::new(Process::Stage2, op, args, text);
        self.items.push(item.by(origin));
    }
}

fn streams(file: &AppFile) -> &'static str {
    match (file.stdin, file.terminal) {
        (_, true) => {
            "standard streams are a terminal of the pod, which the session takes as its own"
        }
        (true, false) => "standard streams are the caller's",
        (false, false) => "standard output and error are the caller's, standard input is /dev/null",
    }
}

fn rlimit(limit: &Rlimit) -> String {
    let show = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |v| v.to_string());
    let (soft, hard) = (show(limit.soft), show(limit.hard));
    format!("limit {} to {soft} (hard: {hard})", limit.resource)
}

fn filter(app: &App) -> String {
    match &app.seccomp {
        pod::SeccompChoice::Default => "the built-in seccomp filter".to_owned(),
        pod::SeccompChoice::Profile { path } => format!("the seccomp filter of {}", quoted(path)),
        pod::SeccompChoice::Unconfined => "no seccomp filter".to_owned(),
    }
}

fn names(list: &[Capability]) -> String {
    let names: Vec<_> = list.iter().map(|one| one.name()).collect();
    match names.is_empty() {
        true => "no capability".to_owned(),
        false => names.join(", "),
    }
}

fn quoted(text: &str) -> String {
    text.escape_debug().to_string()
}

fn words(list: &[String]) -> String {
    let word = |word: &String| match word.is_empty() || word.contains(char::is_whitespace) {
        true => format!("'{}'", word.escape_debug()),
        false => quoted(word),
    };
    list.iter().map(word).collect::<Vec<_>>().join(" ")
}

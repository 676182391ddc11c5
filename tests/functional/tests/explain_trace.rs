//! All that stage1 does is in the plan that `explain` prints, and all of the plan is done: a trace of its system calls is
//! settled against it, call by call.

use std::path::Path;
use std::process::Command;

use functional::ledger::Ledger;
use functional::{Env, Image, Run, User, lax, missing_program, private_host, sh, skip, trace};
use serde_json::Value;

/// How the pods of a test have their standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streams {
    Files,
    Terminal,
}

/// A layout, and pods of it.
struct Lab {
    env: Env,
    image: String,
    /// Flags before the command.
    global: Vec<&'static str>,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let global = Vec::new();
        Self { env, image, global }
    }

    /// A directory of the caller's.
    fn directory(&self, name: &str) -> String {
        let path = self.env.scratch(name);
        std::fs::create_dir(&path).expect("a directory");
        self.env.give(&path);
        path.display().to_string()
    }

    /// `skua COMMAND POD… IMAGE APP… -- exit 3`
    fn words<'a>(&'a self, command: &[&'a str], pod: &[&'a str], app: &[&'a str]) -> Vec<&'a str> {
        let insecure = [lax(pod)];
        let image = [self.image.as_str()];
        let last = ["--", "exit", "3"];
        [
            &self.global[..],
            &insecure,
            command,
            pod,
            &image,
            app,
            &last,
        ]
        .concat()
    }
}

/// Explains a pod, runs it below a trace, and settles both. What `explain` has said.
fn settled(lab: &Lab, streams: Streams, pod: &[&str], app: &[&str]) -> Option<Value> {
    let on = |script: Command, command: Command| match streams {
        Streams::Files => command,
        Streams::Terminal => trace::on_a_terminal(script, &command),
    };
    let words = lab.words(&["explain", "--format=json"], pod, app);
    let command = on(lab.env.program("script"), lab.env.command(&words));
    let explained = Run::of(command).success();
    let explained = trace::json_in(&explained);
    let map = &explained["manifest"]["id_map"]["kind"];
    if map == "subordinate" && lab.env.user() == User::Caller {
        let reason = "a setuid newuidmap does not work below a strace of an ordinary user";
        skip("explain_trace", reason);
        return None;
    }
    let (uuid, log) = (lab.env.scratch("uuid"), lab.env.scratch("trace"));
    let uuid_flag = format!("--uuid-file-save={}", uuid.display());
    let words = lab.words(&["run", &uuid_flag], pod, app);
    let mut traced = trace::traced(&lab.env, &words, &log);
    traced.env("CREDENTIALS_DIRECTORY", lab.env.scratch("given"));
    Run::of(on(Command::new("script"), traced)).exits(3);
    let id = std::fs::read_to_string(&uuid).expect("a UUID");
    let calls = trace::calls(&log);
    let calls = trace::of_program(&calls, "skua-stage1");
    assert!(calls.len() > 200, "{} calls of stage1", calls.len());
    // What is explained is another pod, of the same line.
    let draft = explained["manifest"]["id"].as_str().expect("an id");
    let text = explained.to_string().replace(draft, id.trim());
    let short = |id: &str| format!("skua-{}\"", &id[..8]);
    let text = text.replace(&short(draft), &short(&id));
    let explained: Value = serde_json::from_str(&text).expect("JSON");
    let wrong = Ledger::new(&explained, id.trim()).settle(&calls);
    let (user, wrong_calls) = (lab.env.user(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{user:?} {pod:?} {app:?}\n{wrong_calls}");
    Some(explained)
}

/// The kinds of items of a plan.
fn has(explained: Option<&Value>, ops: &[&str]) {
    let Some(explained) = explained else { return };
    let items = explained["plan"]["items"].as_array().expect("items");
    for op in ops {
        assert!(items.iter().any(|item| item["op"] == **op), "{op}");
    }
}

fn ready(test: &str) -> bool {
    let missing = missing_program(&["strace", "script"]);
    missing.inspect(|program| skip(test, &format!("{program} is not installed")));
    missing.is_none()
}

#[test]
fn no_system_call_of_stage1_changes_anything_without_its_item() {
    if !ready("no_system_call_of_stage1_changes_anything_without_its_item") {
        return;
    }
    for user in User::all() {
        let mut lab = Lab::new(user);
        lab.global.push("--debug");
        let bind = format!("--volume={}:/data", lab.directory("volume"));
        lab.directory("given");
        lab.env.write("given/key", "secret");
        let pod = ["--volume=e,kind=empty,mode=1777", "--hostname=box", "--rm"];
        let app = [
            &bind,
            "--mount=volume=e,target=/empty",
            "--readonly-rootfs",
            "--credential=key:of-web",
            "--user=0",
        ];
        let explained = settled(&lab, Streams::Files, &pod, &app);
        has(
            explained.as_ref(),
            &["read-only-root", "remove-pod", "mask", "take-credentials"],
        );
    }
}

#[test]
fn a_terminal_that_is_written_for_apps_is_accounted_for() {
    if !ready("a_terminal_that_is_written_for_apps_is_accounted_for") {
        return;
    }
    // The terminal is of who runs the tests, and nobody else can open it again.
    let lab = Lab::new(User::Caller);
    let explained = settled(&lab, Streams::Terminal, &["--net=none"], &[]);
    has(explained.as_ref(), &["make-outlets"]);
}

/// Every kind of mount that a pod can have, beside those of networks.
fn everything(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let (shown, hidden) = (lab.directory("shown"), lab.directory("hidden"));
    let pod = vec![
        "--interactive".to_owned(),
        "--volume=t,kind=tmpfs,size=1M,uid=33".to_owned(),
        "--volume=e,kind=empty,uid=33,gid=7".to_owned(),
        format!("--volume=h,kind=host,source={hidden},recursive=false"),
        format!("--volume=i,kind=image,source={}", lab.image),
        "--sysctl=kernel.sem=32000 1024000000 500 32000".to_owned(),
        "--shm-size=1M".to_owned(),
    ];
    let app = vec![
        "--device=/dev/zero:/dev/nothing/else".to_owned(),
        format!("--volume={shown}:/a/b:ro,noexec"),
        "--mount=volume=t,target=/t,noexec".to_owned(),
        "--mount=volume=e,target=/e,readonly".to_owned(),
        "--mount=volume=h,target=/h".to_owned(),
        "--mount=volume=i,target=/i".to_owned(),
        "--unmask=/proc/keys".to_owned(),
        "--nice=19".to_owned(),
        "--oom-score-adj=500".to_owned(),
        "--rlimit=nofile=100".to_owned(),
        "--umask=027".to_owned(),
        "--cap-retain=CAP_CHOWN".to_owned(),
    ];
    (pod, app)
}

const OF_EVERYTHING: [&str; 9] = [
    "terminal",
    "relay-terminal",
    "sysctl",
    "stage-image",
    "stage-mount",
    "leave-unmasked",
    "check-volume",
    "oom-score-adj",
    "become-root",
];

fn borrowed<'a>(words: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let words = words.iter().map(String::as_str);
    words.chain(more.iter().copied()).collect()
}

#[test]
fn terminals_devices_parameters_and_volumes_are_accounted_for() {
    if !ready("terminals_devices_parameters_and_volumes_are_accounted_for") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        let (pod, app) = everything(&lab);
        for net in ["--net=none", "--net=host"] {
            let lab = Lab::new(user);
            let pod = borrowed(&pod, &[net]);
            let explained = settled(&lab, Streams::Terminal, &pod, &borrowed(&app, &[]));
            has(explained.as_ref(), &OF_EVERYTHING);
        }
    }
}

#[test]
fn privileged_a_pod_on_a_bridge_with_a_port_a_terminal_and_a_device_is_accounted_for() {
    let test = "privileged_a_pod_on_a_bridge_with_a_port_a_terminal_and_a_device_is_accounted_for";
    let Some(root) = private_host(test).filter(|_| ready(test)) else {
        return;
    };
    let lab = Lab::new(root);
    let (pod, app) = everything(&lab);
    let net = [
        "--net=default",
        "--publish=18097:80",
        "--sysctl=net.ipv4.ip_unprivileged_port_start=0",
    ];
    let pod = borrowed(&pod, &net);
    let explained = settled(&lab, Streams::Terminal, &pod, &borrowed(&app, &[]));
    has(explained.as_ref(), &OF_EVERYTHING);
    let of_network = [
        "load-network",
        "hold-network",
        "add-network",
        "publish-port",
        "del-network",
        "make-device",
    ];
    has(explained.as_ref(), &of_network);
}

/// The same for an ordinary user, whose network pasta makes.
#[test]
fn privileged_a_pod_on_pasta_with_a_port_a_terminal_and_a_device_is_accounted_for() {
    let test = "privileged_a_pod_on_pasta_with_a_port_a_terminal_and_a_device_is_accounted_for";
    if let Some(program) = missing_program(&["pasta", "mknod"]) {
        return skip(test, &format!("{program} is not installed"));
    }
    if !Path::new("/dev/net/tun").exists() {
        return skip(test, "there is no /dev/net/tun");
    }
    if private_host(test).is_none() || !ready(test) {
        return;
    }
    sh("ip route add default via 192.0.2.254");
    sh("mknod /run/tun c 10 200 && chmod 666 /run/tun && mount --bind /run/tun /dev/net/tun");
    for user in [User::Subordinate, User::Single] {
        let lab = Lab::new(user);
        let (pod, app) = everything(&lab);
        let net = ["--net=pasta", "--publish=127.0.0.1:18098:80"];
        let pod = borrowed(&pod, &net);
        let explained = settled(&lab, Streams::Terminal, &pod, &borrowed(&app, &[]));
        has(explained.as_ref(), &OF_EVERYTHING);
        has(explained.as_ref(), &["add-network", "del-network"]);
    }
}

//! Units from which systemd takes rights, and users that systemd makes: skua runs pods in them, or says what is in its way.
//! These run in the virtual machines of `vm/lane`; elsewhere they are skipped.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use functional::systemd::{Lab, UnitFiles, journal, property, systemctl, under_systemd};
use functional::{Run, User, binaries, eventually, systemd};

/// What the unit that we ship goes without, and the directory that it needs for that.
fn hardened() -> Vec<&'static str> {
    let unit = include_str!("../../../dist/systemd/hardened.service");
    let directory = unit
        .lines()
        .filter(|line| line.starts_with("RuntimeDirectory"));
    assert_eq!(directory.clone().count(), 3);
    let lines = unit.lines().skip_while(|line| !line.starts_with("# begin"));
    let lines: Vec<_> = lines.skip(1).take_while(|line| *line != "# end").collect();
    assert!(lines.len() > 10, "{lines:?}");
    lines.into_iter().chain(directory).collect()
}

/// What runs the words that follow in a unit that is `properties`, with its output.
fn unit_command(properties: &[&str]) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--wait", "--pipe", "--quiet"]);
    for property in properties {
        command.args(["--property", property]);
    }
    command.arg("--");
    command
}

/// The directories of the test are there in the unit as they are outside, whatever it hides.
fn bind(lab: &Lab) -> String {
    let data = lab.env.data();
    let root = data.parent().expect("the directory of the test");
    format!("BindPaths={}", root.display())
}

#[test]
fn privileged_a_pod_runs_in_the_hardened_unit_that_is_installed() {
    const NAME: &str = "privileged_a_pod_runs_in_the_hardened_unit_that_is_installed";
    if !under_systemd(NAME) {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&["--memory=64M"], &["--readonly-rootfs"], &["exit", "7"]);
    let bind = bind(&lab);
    let properties = [&hardened()[..], &[&bind, "Delegate=yes"]].concat();
    lab.in_unit(&properties, &words).exits(7);
    // The properties do what they say: nothing of the host can be written to.
    let mut touch = unit_command(&hardened());
    touch.args(["touch", "/usr/written"]);
    let run = Run::of(touch);
    assert!(run.stderr.contains("Read-only"), "{}", run.report());
}

#[test]
fn privileged_an_orderly_stop_works_in_a_hardened_unit() {
    const UNIT: &str = "skua-test-hardened.service";
    if !under_systemd("privileged_an_orderly_stop_works_in_a_hardened_unit") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&[], &[], &["trap", "SIGTERM", "5"]);
    let bind = bind(&lab);
    let mut properties = hardened();
    properties.extend(["Type=notify", &bind]);
    systemd::service(UNIT, &properties, &lab.line(&words));
    eventually("the app waits for the signal", || {
        journal(UNIT).contains("ready")
    });
    systemctl(&["stop", UNIT]).success();
    assert_eq!(property(UNIT, "ExecMainStatus"), "5", "{}", journal(UNIT));
    systemctl(&["reset-failed", UNIT]);
}

/// An option that takes something that every pod needs, and what skua says: each is one of `docs/systemd.md`.
#[test]
fn privileged_what_a_unit_takes_that_every_pod_needs_is_told() {
    if !under_systemd("privileged_what_a_unit_takes_that_every_pod_needs_is_told") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&[], &[], &["exit", "0"]);
    for (property, told) in [
        ("ProcSubset=pid", "ProcSubset="),
        ("ProtectHostname=yes", "ProtectHostname="),
        ("PrivateUsers=yes", "PrivateUsers="),
        ("RestrictNamespaces=yes", "RestrictNamespaces="),
        ("RestrictSUIDSGID=yes", "RestrictSUIDSGID="),
        ("CapabilityBoundingSet=", "CapabilityBoundingSet="),
    ] {
        let run = lab.in_unit(&[property], &words);
        assert_eq!(run.code(), Some(254), "{property}: {}", run.report());
        assert!(run.stderr.contains(told), "{property}: {}", run.report());
    }
    // What these cover of /proc is in the way on newer kernels only.
    for property in ["ProtectKernelTunables=yes", "ProtectKernelLogs=yes"] {
        let run = lab.in_unit(&[property], &words);
        let told = run.code() == Some(254) && run.stderr.contains("ProtectKernelLogs=");
        assert!(
            run.code() == Some(0) || told,
            "{property}: {}",
            run.report()
        );
    }
}

/// systemd gives such a user `RestrictSUIDSGID=`, which takes `openat2(2)` from it.
#[test]
fn privileged_a_dynamic_user_is_told_why_it_has_no_pods() {
    if !under_systemd("privileged_a_dynamic_user_is_told_why_it_has_no_pods") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let layout = lab.env.scratch("layout");
    let layout = format!(
        "BindReadOnlyPaths={}:/run/skua-test-layout",
        layout.display()
    );
    let state = "StateDirectory=skua-test-dynamic";
    let mut command = unit_command(&["DynamicUser=yes", state, &layout]);
    command.arg(binaries().join("skua"));
    command.args([
        "--data-dir=/var/lib/skua-test-dynamic",
        "--insecure-options=image",
        "run",
        "oci:/run/skua-test-layout:1",
    ]);
    Run::of(command)
        .fails(&["Function not implemented"])
        .complains("RestrictSUIDSGID=");
}

/// What is heard at a socket; the first to connect waits for a pod.
fn hear(path: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("systemd listens");
    let limit = Some(Duration::from_secs(300));
    stream.set_read_timeout(limit).expect("a timeout");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("an answer");
    heard
}

/// The unit with these lines in place of those of the same settings.
fn with(unit: &str, settings: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for line in unit.lines() {
        let setting = settings.iter().find(|(name, _)| line.starts_with(name));
        text += &setting.map_or_else(|| line.to_owned(), |(name, value)| format!("{name}{value}"));
        text.push('\n');
    }
    for (name, value) in settings {
        assert!(
            text.contains(&format!("\n{name}{value}\n")),
            "no {name} in {unit}"
        );
    }
    text
}

#[test]
fn privileged_a_connection_starts_the_pod_that_answers_it_with_the_units_that_are_installed() {
    const PATH: &str = "/run/skua-test-activated";
    if !under_systemd(
        "privileged_a_connection_starts_the_pod_that_answers_it_with_the_units_that_are_installed",
    ) {
        return;
    }
    let lab = Lab::new(User::Caller);
    let run = lab.run_words(&["--name=p"], &["--socket=http"], &["accept", "3", "hello"]);
    let start = lab.line(&run).join(" ");
    let socket = include_str!("../../../dist/systemd/activated.socket");
    let socket = with(socket, &[("ListenStream=", PATH)]);
    let service = include_str!("../../../dist/systemd/activated.service");
    let service = with(service, &[("ExecStart=", &start)]);
    let units = [
        ("skua-test-activated.socket", socket.as_str()),
        ("skua-test-activated.service", service.as_str()),
    ];
    let _files = UnitFiles::write(&units);
    systemctl(&["start", "skua-test-activated.socket"]).success();
    assert_eq!(
        property("skua-test-activated.service", "ActiveState"),
        "inactive"
    );
    let heard = hear(PATH);
    assert_eq!(heard, "hello", "{}", journal("skua-test-activated.service"));
    eventually("the pod has ended", || lab.status("p")["exit_status"] == 0);
    // Each further connection starts it anew, if its name is free.
    lab.env.skua(&["rm", "p"]).success();
    assert_eq!(hear(PATH), "hello");
}

#[test]
fn privileged_what_has_ended_is_collected_by_the_units_that_are_installed() {
    if !under_systemd("privileged_what_has_ended_is_collected_by_the_units_that_are_installed") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let skua = lab.line(&[]).join(" ");
    let service = include_str!("../../../dist/systemd/skua-gc.service");
    let service = service.replace("/usr/local/bin/skua", &skua);
    let timer = include_str!("../../../dist/systemd/skua-gc.timer");
    let units = [
        ("skua-test-gc.service", service.as_str()),
        ("skua-test-gc.timer", timer),
    ];
    let _files = UnitFiles::write(&units);
    systemctl(&["start", "skua-test-gc.timer"]).success();
    assert_eq!(property("skua-test-gc.timer", "ActiveState"), "active");
    let triggers = property("skua-test-gc.timer", "Triggers");
    assert_eq!(triggers, "skua-test-gc.service");

    lab.run(&["--name=p"], &[], &["exit", "0"]).success();
    systemctl(&["start", "skua-test-gc.service"]).success();
    assert_eq!(
        lab.status("p")["state"],
        "exited",
        "within its grace period"
    );
    let settings = lab.env.config().join("config.toml");
    std::fs::write(settings, "grace-period = \"0s\"\n").expect("write config.toml");
    systemctl(&["start", "skua-test-gc.service"]).success();
    lab.env.skua(&["status", "p"]).fails(&["no pod 'p'"]);
}

#[test]
fn privileged_each_connection_has_a_pod_of_its_own_with_accept() {
    const PATH: &str = "/run/skua-test-each";
    if !under_systemd("privileged_each_connection_has_a_pod_of_its_own_with_accept") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let run = lab.run_words(&[], &["--socket=connection"], &["answer", "3", "hello"]);
    let start = lab.line(&run).join(" ");
    let socket = format!("[Socket]\nListenStream={PATH}\nAccept=yes\n");
    let service = format!("[Service]\nExecStart={start}\nDelegate=yes\n");
    let units = [
        ("skua-test-each.socket", socket.as_str()),
        ("skua-test-each@.service", service.as_str()),
    ];
    let _files = UnitFiles::write(&units);
    systemctl(&["start", "skua-test-each.socket"]).success();
    for _ in 0..2 {
        assert_eq!(hear(PATH), "hello");
    }
    eventually("both pods have ended", || {
        let pods = lab.env.skua(&["list", "--format=json"]).success().json();
        let pods = pods["pods"].as_array().expect("a list");
        pods.len() == 2 && pods.iter().all(|pod| pod["exit_status"] == 0)
    });
}

#[test]
fn privileged_credentials_of_a_unit_reach_the_app_that_claims_them() {
    if !under_systemd("privileged_credentials_of_a_unit_reach_the_app_that_claims_them") {
        return;
    }
    for user in [User::Caller, User::Single] {
        let lab = Lab::new(user);
        // Root's alone: systemd copies it.
        let key = std::path::Path::new("/run/skua-test-key");
        std::fs::write(key, "a key").expect("write a key");
        std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).expect("chmod");
        let load = format!("LoadCredential=key:{}", key.display());
        let mut properties = vec!["SetCredential=token:a token", load.as_str(), "Delegate=yes"];
        let of_user = format!(
            "User={}",
            if user.is_root() { "root" } else { user.login() }
        );
        properties.push(&of_user);
        for (claimed, text) in [("token:x", "a token"), ("key:x", "a key")] {
            let claimed = format!("--credential={claimed}");
            let app = [claimed.as_str(), "--user=1000"];
            let words = lab.run_words(&[], &app, &["read", "/run/credentials/x"]);
            let mut command = unit_command(&properties);
            command.args(lab.line(&words));
            let run = Run::of(command).success();
            assert_eq!(run.json()["text"], text, "{user:?}");
        }
        let words = lab.run_words(&[], &["--credential=other"], &["exit", "7"]);
        let mut command = unit_command(&properties);
        command.args(lab.line(&words));
        Run::of(command).fails(&["cannot open credential 'other' in /run/credentials/"]);
    }
}

#[test]
fn privileged_a_unit_of_an_ordinary_user_runs_a_pod_within_limits() {
    if !under_systemd("privileged_a_unit_of_an_ordinary_user_runs_a_pod_within_limits") {
        return;
    }
    let lab = Lab::new(User::Single);
    let user = format!("User={}", lab.env.user().login());
    let mut command = unit_command(&[&user, "Delegate=yes", "NoNewPrivileges=yes"]);
    command.args(lab.line(&lab.run_words(&["--memory=64M"], &[], &["exit", "7"])));
    Run::of(command).exits(7);
}

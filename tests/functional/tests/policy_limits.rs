//! Bounds of limits in `policy.toml`: a pod that asks for more, or for no limit, is refused, whoever wrote its manifest. That the
//! limits of a pod within the bounds are enforced is shown in `cgroups.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use functional::policy::{host_with_policy, set_policy, stage1_by_hand};
use functional::systemd::Lab;
use functional::{Env, User};
use serde_json::{Value, json};

/// The caller's own bounds.
fn bounds(env: &Env, text: &str) {
    let file = env.config().join("policy.toml");
    fs::write(&file, text).expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    env.give(&file);
}

/// Each bound, a flag that is beyond it, and one that is not.
const LIMITS: [(&str, &str, &str); 10] = [
    ("memory = \"64M\"", "--memory=65M", "--memory=64M"),
    (
        "memory-high = \"64M\"",
        "--memory-high=1G",
        "--memory-high=8M",
    ),
    (
        "memory-swap-max = 0",
        "--memory-swap-max=1M",
        "--memory-swap-max=0",
    ),
    ("cpus = 0.5", "--cpus=0.51", "--cpus=0.5"),
    ("cpu-weight = 50", "--cpu-weight=51", "--cpu-weight=50"),
    (
        "cpuset-cpus = \"0\"",
        "--cpuset-cpus=0-1",
        "--cpuset-cpus=0",
    ),
    ("cpuset-mems = \"0\"", "--cpuset-mems=1", "--cpuset-mems=0"),
    ("pids-limit = 50", "--pids-limit=51", "--pids-limit=50"),
    (
        "io-max = [\"8:0,rbps=1M\"]",
        "--io-max=8:0,rbps=2M",
        "--io-max=8:0,rbps=1M",
    ),
    ("io-weight = 50", "--io-weight=51", "--io-weight=50"),
];

#[test]
fn each_bound_refuses_more_and_nothing_before_anything_else_and_names_the_flag() {
    for user in User::all() {
        let lab = Lab::new(user);
        for (bound, beyond, within) in LIMITS {
            bounds(&lab.env, bound);
            let key = bound.split(' ').next().expect("a key");
            let (rule, flag) = (format!("'{key}' of "), format!(": give --{key}="));
            let rule = [rule.as_str(), "policy.toml allows at most ", &flag];
            let refused = |pod: &[&str], app: &[&str], what: &str| {
                let run = lab.run(pod, app, &["print", "started"]);
                assert!(run.stdout.is_empty(), "something ran\n{}", run.report());
                run.fails(&[&[what], &rule[..]].concat())
            };
            refused(&[], &[], &format!("no --{key} for the pod"));
            refused(&[beyond], &[], &format!("{beyond} for the pod"));
            refused(&[], &[within], &format!("no --{key} for the pod"));
            if !key.ends_with("weight") {
                let app = [beyond, "--name=web"];
                refused(&[within], &app, &format!("{beyond} for app web"));
            }
            let given_up = [
                "--insecure-options=image,limits",
                "run",
                within,
                "127.0.0.1:1/x",
            ];
            let run = lab.env.skua(&given_up);
            run.fails(&["insecure option limits", rule[0], "does not allow it"]);
            // What is within the bound is for stage1, which has the limit or says why not.
            let run = lab.run(&[within], &[], &["exit", "7"]);
            let had = run.code() == Some(7);
            let refused = run.stderr.contains("stage1: cannot ") && run.code() == Some(254);
            assert!(had || refused, "{}", run.report());
        }
        let pods = lab.env.skua(&["list", "--format=json"]).success().json();
        let prepared = |pod: &Value| pod["state"] != "exited";
        let left: Vec<_> = pods["pods"].as_array().expect("pods").iter().collect();
        assert!(!left.into_iter().any(prepared), "{pods}");
    }
}

#[test]
fn a_pod_beyond_a_bound_is_refused_before_its_image_is_asked_for() {
    let lab = Lab::new(User::ordinary());
    bounds(&lab.env, "memory = \"64M\"\n");
    let nowhere = "127.0.0.1:1/nobody/listens";
    for words in [
        &["run", nowhere][..],
        &["run", "--memory=1G", nowhere],
        &["run", "--memory=64M", nowhere, "--memory=65M"],
        &["prepare", nowhere],
        &["explain", nowhere],
    ] {
        lab.env
            .skua(words)
            .fails(&["'memory' of", "give --memory=64M or less"]);
    }
    let allowed = lab.env.skua(&["run", "--memory=64M", nowhere]);
    allowed.fails(&["127.0.0.1:1"]);
}

#[test]
fn config_and_explain_show_the_bounds_of_limits_with_their_file() {
    let lab = Lab::new(User::ordinary());
    bounds(
        &lab.env,
        "memory = 67108864\ncpus = 1.5\nio-max = [\"8:0,rbps=1M\"]\n",
    );
    let file = lab.env.config().join("policy.toml").display().to_string();
    let config = lab.env.skua(&["config"]).success();
    config.says("policy.memory").says("at most 64M").says(&file);
    let within = ["--memory=64M", "--cpus=1", "--io-max=8:0,rbps=1M"];
    let words = lab.run_words(&within, &[], &["exit", "0"]);
    let explain = |form: &'static str| {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words[1] = "explain";
        words.insert(2, form);
        lab.env.skua(&words).success()
    };
    let text = explain("--format=text").stdout;
    let lines: Vec<_> = text.lines().filter(|l| l.starts_with("bound ")).collect();
    let expected = [
        format!("bound memory: at most 64M [{file}]"),
        format!("bound cpus: at most 1.5 [{file}]"),
        format!("bound io-max: at most 8:0,rbps=1M [{file}]"),
    ];
    assert_eq!(lines, expected);
    assert!(text.contains("set memory.max of the cgroup of the pod to 67108864 [command line]"));
    let document = explain("--format=json").json();
    assert_eq!(
        document["policy"][0],
        json!({"key": "memory", "value": "at most 64M", "file": file})
    );
}

/// Writes another manifest for a prepared pod.
fn by_hand(env: &Env, uuid: &str, change: impl FnOnce(&mut Value)) {
    let file = env.data().join("pods/prepared").join(uuid).join("pod.json");
    let text = fs::read_to_string(&file).expect("a manifest");
    let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut manifest);
    fs::write(&file, manifest.to_string()).expect("write");
}

type Change = fn(&mut Value);

/// Manifests that no stage0 writes within these bounds, and what is said about them.
const CHANGES: [(Change, &str); 7] = [
    (|_| {}, ""),
    (
        |m| m["limits"]["memory"] = Value::Null,
        "no --memory for the pod",
    ),
    (
        |m| m["limits"]["cpu_quota"]["period_us"] = json!(9),
        "microseconds) for the pod: 'cpus' of",
    ),
    (
        |m| m["limits"]["cpuset_cpus"] = json!(""),
        "--cpuset-cpus= for the pod",
    ),
    (
        |m| m["limits"]["pids"] = json!({"kind": "default"}),
        "no --pids-limit for the pod",
    ),
    (
        |m| m["apps"][0]["limits"]["memory"] = json!(65 << 20),
        "--memory=65M for app ",
    ),
    (
        |m| m["insecure_options"] = json!(["image", "limits"]),
        "insecure option limits",
    ),
];

#[test]
fn privileged_stage1_keeps_to_the_bounds_of_limits_whoever_wrote_the_manifest() {
    let test = "privileged_stage1_keeps_to_the_bounds_of_limits_whoever_wrote_the_manifest";
    let Some(_host) = host_with_policy(test, "") else {
        return;
    };
    let bound = "memory = \"64M\"\ncpus = 2\ncpuset-cpus = \"0\"\npids-limit = 100\n";
    let within: Change = |manifest| {
        manifest["limits"]["memory"] = json!(64 << 20);
        manifest["limits"]["cpu_quota"] = json!({"quota_us": 20, "period_us": 10});
        manifest["limits"]["cpuset_cpus"] = json!("0");
        manifest["limits"]["pids"] = json!({"kind": "max", "count": 100});
    };
    for user in User::all() {
        let lab = Lab::new(user);
        for (change, what) in CHANGES {
            let mut words = lab.run_words(&[], &[], &["exit", "7"]);
            words[1] = "prepare".to_owned();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            set_policy("");
            let uuid = lab.env.skua(&words).success().stdout;
            by_hand(&lab.env, uuid.trim(), |manifest| {
                within(manifest);
                change(manifest);
            });
            set_policy(bound);
            let run = stage1_by_hand(&lab.env, uuid.trim());
            match what {
                "" if run.code() == Some(7) => {}
                "" => drop(run.fails(&["stage1: cannot "])),
                what => {
                    drop(run.fails(&["stage1: ", what, " of /etc/skua/policy.toml"]));
                }
            }
        }
    }
}

#[test]
fn privileged_no_file_of_a_user_raises_a_bound_of_the_host() {
    let test = "privileged_no_file_of_a_user_raises_a_bound_of_the_host";
    let Some(_host) = host_with_policy(test, "pids-limit = 50\n") else {
        return;
    };
    for user in User::all() {
        let lab = Lab::new(user);
        bounds(&lab.env, "pids-limit = 1000\n");
        lab.run(&["--pids-limit=51"], &[], &["exit", "0"])
            .fails(&["/etc/skua/policy.toml allows at most 50"]);
        bounds(&lab.env, "pids-limit = 10\n");
        lab.run(&["--pids-limit=50"], &[], &["exit", "0"])
            .fails(&["config/policy.toml allows at most 10"]);
    }
}

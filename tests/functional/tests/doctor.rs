//! `skua doctor`: what this host offers to pods, and what to do about the rest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use functional::{Env, Run, User, skip};
use serde_json::{Value, json};

#[test]
fn doctor_recommends_no_user_ids_that_somebody_has() {
    let user = User::all().into_iter().find(|user| *user == User::Single);
    let env = Env::new(user.unwrap_or(User::Caller));
    let report = env.skua(&["doctor", "--format=json"]).json();
    let checks = report["checks"].as_array().expect("checks");
    let ids = checks.iter().find(|check| check["name"] == "ids");
    let Some(remedy) = ids.and_then(|check| check["remedy"].as_str()) else {
        return skip("doctor_recommends_no_user_ids", "the user has a range");
    };
    let range = remedy
        .split_whitespace()
        .skip_while(|word| *word != "--add-subuids");
    let (first, last) = range
        .skip(1)
        .find_map(|word| word.split_once('-'))
        .expect(remedy);
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    assert_eq!(last - first, 65_535, "{remedy}");
    for table in ["/etc/subuid", "/etc/subgid"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            let fields: Vec<u64> = line.split(':').filter_map(|f| f.parse().ok()).collect();
            if let [.., begin, count] = fields[..] {
                assert!(
                    first >= begin + count || last < begin,
                    "{remedy}: {table}: {line}"
                );
            }
        }
    }
}

#[test]
fn doctor_looks_at_everything_and_leaves_nothing() {
    for user in User::all() {
        let env = Env::new(user);
        let report = env.skua(&["doctor", "--format=json"]);
        let checks = report.json()["checks"].as_array().expect("checks").clone();
        let names: Vec<&str> = checks
            .iter()
            .filter_map(|check| check["name"].as_str())
            .collect();
        let network = if user.is_root() { "cni" } else { "pasta" };
        for name in [
            "skua-worker",
            "skua-stage1",
            "skua-stage2",
            "data",
            "ids",
            network,
            "seccomp",
            "cgroup",
            "namespaces",
            "overlay",
            "landlock",
        ] {
            assert!(names.contains(&name), "{}", report.report());
        }
        for check in &checks {
            assert_eq!(
                check["verdict"] == "ok",
                check["remedy"].is_null(),
                "{check}"
            );
        }
        let broken = checks.iter().any(|check| check["verdict"] == "missing");
        assert_eq!(
            report.code(),
            Some(i32::from(broken)),
            "{}",
            report.report()
        );
        let left: Vec<_> = fs::read_dir(env.data()).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn config_says_where_each_program_is_that_doctor_looks_at() {
    let env = Env::new(User::ordinary());
    let entries = |words: &[&str], list: &str| {
        let run = env.skua(words).json();
        run[list].as_array().expect("a list").clone()
    };
    let config = entries(&["config", "--format=json"], "entries");
    for check in entries(&["doctor", "--format=json"], "checks") {
        let name = check["name"].as_str().expect("a name");
        if !name.starts_with("skua-") {
            continue;
        }
        let known = config.iter().find(|entry| entry["key"] == name);
        let path = known.and_then(|entry| entry["value"].as_str());
        assert!(
            path.is_some_and(|path| fs::metadata(path).is_ok()),
            "{name}: {known:?}"
        );
    }
}

#[test]
fn privileged_doctor_does_not_send_who_has_no_name_to_usermod() {
    const ID: u32 = 54_321;
    if User::root("privileged_doctor_does_not_send_who_has_no_name").is_none() {
        return;
    }
    let env = Env::new(User::Number(ID));
    let report = env.skua(&["doctor", "--format=json"]);
    let checks = report.json()["checks"].as_array().expect("checks").clone();
    let ids = checks.iter().find(|check| check["name"] == "ids");
    let remedy = ids.and_then(|check| check["remedy"].as_str());
    let remedy = remedy.expect("no name, no ids");
    for part in [
        "/etc/passwd has no user 54321",
        ":65536' to /etc/subuid and to /etc/subgid",
        "useradd --uid 54321",
    ] {
        assert!(remedy.contains(part), "{}", report.report());
    }
    assert!(!remedy.contains("usermod"), "{}", report.report());
}

#[test]
fn privileged_the_plugins_that_the_built_in_network_names_are_enough_and_each_is_missed() {
    let Some(root) = User::root("the_plugins_that_the_built_in_network_names_are_enough") else {
        return;
    };
    let env = Env::new(root);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let list = fs::read(tree.join("dist/net.d/default.conflist")).expect("the conflist");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    let plugins = list["plugins"].as_array().expect("plugins");
    let named = plugins
        .iter()
        .flat_map(|plugin| [&plugin["type"], &plugin["ipam"]["type"]]);
    let named: Vec<&str> = named.filter_map(Value::as_str).collect();
    let cni = |env: &Env| {
        let mut doctor = env.command(&["doctor", "--format=json"]);
        doctor.env("CNI_PATH", env.scratch("cni"));
        let report = Run::of(doctor).json();
        let checks = report["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["name"] == "cni");
        check.expect("the check").clone()
    };
    fs::create_dir(env.scratch("cni")).expect("mkdir");
    for plugin in &named {
        let path = env.write(&format!("cni/{plugin}"), "");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    assert_eq!(cni(&env)["verdict"], "ok", "{}", cni(&env));
    for plugin in &named {
        let (path, away) = (env.scratch(&format!("cni/{plugin}")), env.scratch("away"));
        fs::rename(&path, &away).expect("away");
        let check = cni(&env);
        assert_eq!(check["verdict"], "limited", "{check}");
        assert_eq!(check["found"], json!(format!("no plugin {plugin}")));
        fs::rename(&away, &path).expect("back");
    }
}

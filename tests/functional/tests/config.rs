//! `skua config`: for programs too, and with what needs no file.

use std::fs;

use functional::{Env, User};
use serde_json::{Value, json};

/// The entries with this key.
fn entries(env: &Env, key: &str) -> Vec<Value> {
    let config = env.skua(&["config", "--format=json"]).success().json();
    let all = config["entries"].as_array().expect("entries").clone();
    all.into_iter()
        .filter(|entry| entry["key"] == key)
        .collect()
}

#[test]
fn values_are_what_they_are_and_not_text_for_people() {
    let env = Env::new(User::ordinary());
    let settings = "stop-timeout = \"1m\"\ncni-path = [\"/a:b\", \"/c\"]\n";
    fs::write(env.config().join("config.toml"), settings).expect("write config.toml");
    for (key, value) in [
        ("stop-timeout", json!(60)),
        ("grace-period", json!(1800)),
        ("keep-blobs", json!(false)),
        ("cni-path", json!(["/a:b", "/c"])),
        ("net", json!("none")),
        ("image-limits.layers", json!(128)),
    ] {
        let found = entries(&env, key);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["value"], value, "{key}");
    }
    let table = env.skua(&["config"]).success().stdout;
    for line in ["stop-timeout", "60s", "/a:b:/c"] {
        assert!(table.contains(line), "{line}: {table}");
    }
    for directory in entries(&env, "config-dir") {
        let path = directory["value"].as_str().expect("a path");
        let exists = fs::metadata(path).is_ok();
        assert_eq!(directory["exists"], exists, "{directory}");
    }
}

#[test]
fn the_built_in_network_is_shown_until_a_file_takes_it_away() {
    for user in User::all() {
        let env = Env::new(user);
        let name = if user.is_root() { "default" } else { "pasta" };
        let found = entries(&env, "network");
        let built_in = json!({"key": "network", "value": name, "origin": "built in"});
        assert_eq!(found, [built_in], "{user:?}");
        let directory = env.config().join("net.d");
        fs::create_dir(&directory).expect("make net.d");
        fs::write(directory.join(format!("{name}.conflist")), "").expect("write");
        env.give(&directory);
        assert_eq!(entries(&env, "network"), [] as [Value; 0], "{user:?}");
        fs::write(directory.join("broken.conflist"), "{").expect("write");
        env.give(&directory);
        let found = entries(&env, "network");
        assert_eq!(found[0]["value"], Value::Null, "{found:?}");
        assert!(found[0]["problem"].is_string(), "{found:?}");
    }
}

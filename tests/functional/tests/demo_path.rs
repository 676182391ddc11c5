//! The path through everything with a small image, as every kind of user: fetch, verify, unpack, run, tell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use functional::{Compression, Cosign, Env, Image, Key, Layer, Registry, Run, User};
use serde_json::json;

/// A registry with a signed image `demo/image:1`, and an environment that trusts `demo`.
fn signed(user: User) -> (Registry, String, Env) {
    let registry = Registry::start();
    let key = Key::new(1);
    let name = registry.push_signed("demo/image", "1", &Image::inspect().build(), &key);
    let env = Env::new(user);
    env.trust(&registry.name("demo"), &key);
    (registry, name, env)
}

#[test]
fn an_app_s_exit_code_is_skua_s_as_every_user() {
    for user in User::all() {
        let (_registry, name, env) = signed(user);
        env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
        env.skua(&["run", &name, "--", "exit", "0"]).exits(0);
        env.skua(&["run", &name, "--", "raise", "SIGKILL"])
            .exits(137);
    }
}

#[test]
fn a_fetched_image_runs_without_the_registry() {
    let (registry, name, env) = signed(User::ordinary());
    env.skua(&["fetch", &name]).success();
    drop(registry);
    env.skua(&["run", &name, "--", "print", "hello"])
        .success()
        .says("hello");
}

#[test]
fn docker_s_media_types_and_every_compression_are_understood() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    let docker = Image::inspect().docker().build();
    let mixed = Image::inspect()
        .layer(
            Layer::new()
                .compression(Compression::None)
                .file("plain", 0o644, "plain"),
        )
        .layer(
            Layer::new()
                .compression(Compression::Zstd)
                .file("zstd", 0o644, "zstd"),
        )
        .build();
    for (tag, image) in [("docker", &docker), ("mixed", &mixed)] {
        let name = registry.push("demo/image", tag, image);
        env.skua(&["--insecure-options=image", "run", &name, "--", "exit", "3"])
            .exits(3);
    }
    let name = registry.name("demo/image:mixed");
    env.skua(&[
        "--insecure-options=image",
        "run",
        &name,
        "--",
        "read",
        "/zstd",
    ])
    .success()
    .says(r#""text":"zstd""#);
}

#[test]
fn an_index_leads_to_the_image_for_this_machine() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    let image = Image::inspect().build();
    registry.push("demo/image", "only-amd64", &image);
    let index = image.index();
    registry.put_manifest("demo/image", "all", &index.media_type, &index.bytes);
    let name = registry.name("demo/image:all");
    env.skua(&["--insecure-options=image", "run", &name, "--", "exit", "5"])
        .exits(5);
}

#[test]
fn what_no_policy_accepts_is_refused_before_a_layer_is_downloaded() {
    let registry = Registry::start();
    let (right, wrong) = (Key::new(1), Key::new(2));
    let image = Image::inspect().build();
    let digest = image.digest();
    let repository = |name: &str| registry.name(name);
    for name in [
        "demo/unsigned",
        "demo/wrong-key",
        "demo/other-repository",
        "demos/boundary",
    ] {
        registry.push(name, "1", &image);
    }
    let by = |key: &Key, name: &str| Cosign::new().sign(key, &repository(name), digest);
    registry.push_signatures("demo/wrong-key", digest, &by(&wrong, "demo/wrong-key"));
    registry.push_signatures("demo/other-repository", digest, &by(&right, "demo/image"));
    registry.push_signatures("demos/boundary", digest, &by(&right, "demos/boundary"));
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &right);
    for name in [
        "demo/unsigned",
        "demo/wrong-key",
        "demo/other-repository",
        "demos/boundary",
    ] {
        let name = registry.name(&format!("{name}:1"));
        env.skua(&["fetch", &name]).fails(&[&name]);
        env.skua(&["run", &name]).fails(&[&name]);
    }
    let layer = &image.layers[0].digest;
    let requests = registry.requests();
    assert!(
        requests.iter().all(|r| !r.path.contains(layer.as_str())),
        "a layer was asked for: {requests:#?}"
    );
}

#[test]
fn one_flipped_bit_anywhere_is_refused_and_leaves_nothing() {
    let key = Key::new(1);
    let image = Image::inspect().build();
    let blobs = [&image.manifest, &image.config, &image.layers[0]];
    for (what, blob) in ["manifest", "config", "layer"].into_iter().zip(blobs) {
        let registry = Registry::start();
        let name = registry.push_signed("demo/image", "1", &image, &key);
        let mut bytes = blob.bytes.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        registry.replace_blob(&blob.digest, &bytes);
        if what == "manifest" {
            for reference in ["1", image.digest()] {
                registry.put_manifest("demo/image", reference, &blob.media_type, &bytes);
            }
        }
        let env = Env::new(User::ordinary());
        env.trust(&registry.name("demo"), &key);
        let before = env
            .skua(&["image", "list", "--format=json"])
            .success()
            .stdout;
        env.skua(&["fetch", &name]).fails(&[]);
        let after = env
            .skua(&["image", "list", "--format=json"])
            .success()
            .stdout;
        assert_eq!(before, after, "flipped bit in the {what}");
        env.skua(&["run", "--pull=never", &name]).fails(&[]);
        let trees = env.data().join("store/trees/sha256");
        let left: Vec<_> = std::fs::read_dir(trees).into_iter().flatten().collect();
        assert!(left.is_empty(), "flipped bit in the {what}: {left:?}");
    }
}

#[test]
fn a_revoked_key_stops_an_image_that_is_already_here() {
    let (registry, name, env) = signed(User::ordinary());
    env.skua(&["run", &name, "--", "exit", "0"]).success();
    let prefix = registry.name("demo");
    env.skua(&["trust", "rm", "--prefix", &prefix]).success();
    env.skua(&["run", &name, "--", "exit", "0"]).fails(&[&name]);
}

#[test]
fn the_apps_of_a_pod_share_their_network_and_are_told_apart() {
    let (_registry, name, env) = signed(User::ordinary());
    let server = ["run", "--name=pair", &name, "--name=server", "--"];
    let address = "127.0.0.1:8080";
    let words = [
        &server[..],
        &["listen", address, "from the server"],
        &["---", &name, "--name=client", "--", "connect", address],
    ]
    .concat();
    env.skua(&words).success().says("from the server");
    let status = env
        .skua(&["status", "--name=pair", "--format=json"])
        .success();
    for app in ["server", "client"] {
        assert!(status.stdout.contains(app), "{}", status.report());
    }
}

#[test]
fn the_pod_s_status_is_that_of_the_first_app_that_failed() {
    let (_registry, name, env) = signed(User::ordinary());
    let one = [
        "run",
        &name,
        "--name=one",
        "--",
        "exit",
        "0",
        "---",
        &name,
        "--name=two",
    ];
    env.skua(&[&one[..], &["--", "exit", "9"]].concat())
        .exits(9);
}

#[test]
fn environment_user_and_directory_are_the_image_s_unless_the_command_line_says_otherwise() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    let image = Image::inspect()
        .set("Env", json!(["A=1", "B=2"]))
        .set("WorkingDir", json!("/tmp"))
        .set("User", json!("app"))
        .cmd(&["all", "env", "cwd", "id"])
        .build();
    let name = registry.push("demo/image", "1", &image);
    let run = ["--insecure-options=image", "run", &name];
    let answers = env.skua(&run).success().json();
    assert_eq!(answers["cwd"], "/tmp");
    assert_eq!(answers["id"]["uid"], json!([1000, 1000, 1000]));
    assert_eq!(answers["id"]["groups"], json!([2000]));
    let flags = ["--environment=B=3", "--working-dir=/etc", "--user=0"];
    let answers = env.skua(&[&run[..], &flags].concat()).success().json();
    assert_eq!(answers["cwd"], "/etc");
    assert_eq!(answers["id"]["uid"], json!([0, 0, 0]));
    let variables = answers["env"].as_array().expect("variables");
    assert!(variables.contains(&json!(["A", "1"])) && variables.contains(&json!(["B", "3"])));
}

#[test]
fn a_variable_of_ours_that_is_not_utf8_is_told_apart_from_one_that_is_not_there() {
    let (_registry, name, env) = signed(User::ordinary());
    let words = ["run", &name, "--environment=LATIN", "--", "env"];
    env.skua(&words)
        .fails(&["--environment LATIN: the variable is not in our environment"]);
    let mut command = env.command(&words);
    command.env("LATIN", OsStr::from_bytes(b"caf\xe9"));
    Run::of(command)
        .fails(&["--environment LATIN: its value in our environment is not UTF-8"])
        .complains("NAME=VALUE");
}

#[test]
fn who_named_a_stage_that_is_not_there_is_not_told_to_name_it() {
    let (_registry, name, env) = signed(User::ordinary());
    let libexec = ["--libexec-dir=/nonexistent", "run", &name];
    let stage1 = ["run", "--stage1=/nonexistent/skua-stage1", &name];
    for (words, flag) in [(&libexec, "--libexec-dir"), (&stage1, "--stage1")] {
        env.skua(words)
            .fails(&["cannot execute /nonexistent/skua-stage1", "No such file"])
            .complains(&format!("hint: {flag} names"))
            .complains("without that flag");
    }
}

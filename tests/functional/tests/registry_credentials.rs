//! Credentials: per namespace, from helpers, from systemd; for the right repository and nobody else.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use functional::registry::Auth;
use functional::{Built, Env, Image, Layer, Registry, Run, User};
use serde_json::{Value, json};

const INSECURE: &str = "--insecure-options=image";

fn image() -> Built {
    Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .build()
}

fn require(registry: &Registry, user: &str, password: &str) {
    registry.require(Auth::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    });
}

fn entry(user: &str, password: &str) -> Value {
    json!({"auth": STANDARD.encode(format!("{user}:{password}"))})
}

/// A fetch with this auth file and these helpers, `docker-credential-NAME` in `$PATH`.
fn fetch(env: &Env, name: &str, file: &Value, helpers: &[(&str, &str)]) -> Run {
    Run::of(fetching(env, name, file, helpers))
}

fn fetching(env: &Env, name: &str, file: &Value, helpers: &[(&str, &str)]) -> Command {
    let bin = env.scratch("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for (helper, script) in helpers {
        let path = bin.join(format!("docker-credential-{helper}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    env.give(&env.scratch(""));
    let auth = env.write("auth.json", file.to_string());
    let mut command = env.command(&[INSECURE, "fetch", name]);
    command
        .env("REGISTRY_AUTH_FILE", auth)
        .env("SECRET", "sesame")
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command
}

/// Says who it is by the environment of the caller, and only for one server.
fn helper_for(host: &str) -> String {
    format!(
        r#"test "$1" = get || exit 9
read -r server
if [ "$server" != {host} ]; then echo "credentials not found in native keychain"; exit 1; fi
echo "{{\"ServerURL\":\"$server\",\"Username\":\"u\",\"Secret\":\"$SECRET\"}}""#
    )
}

#[test]
fn the_credential_of_the_longest_namespace_is_sent() {
    let registry = Registry::start();
    let image = image();
    for repository in ["team/a", "team/b", "teams"] {
        registry.push(repository, "1", &image);
    }
    let host = registry.host();
    let file = json!({"auths": {
        host.clone(): entry("host", "p"),
        format!("{host}/team"): entry("team", "p"),
        format!("{host}/team/a"): entry("a", "p"),
    }});
    let env = Env::new(User::ordinary());
    for (repository, user) in [("team/a", "a"), ("team/b", "team"), ("teams", "host")] {
        require(&registry, user, "p");
        let name = registry.name(&format!("{repository}:1"));
        fetch(&env, &name, &file, &[]).success();
        require(&registry, "other", "p");
        fetch(&env, &name, &file, &[]).fails(&["refuses access"]);
    }
}

#[test]
fn a_helper_is_asked_as_the_caller_and_only_for_its_registries() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    require(&registry, "u", "sesame");
    let host = registry.host();
    let helper = helper_for(&host);
    let helpers = [("test", helper.as_str()), ("broken", "exit 3")];
    for user in User::all() {
        for file in [
            json!({"credHelpers": {host.clone(): "test", "other.test": "broken"}}),
            json!({"credHelpers": {format!("{host}/i"): "test", host.clone(): "broken"}}),
            json!({"credsStore": "test", "auths": {host.clone(): {}}}),
            json!({"credsStore": "broken", "auths": {host.clone(): entry("u", "sesame")}}),
        ] {
            let env = Env::new(user);
            let run = fetch(&env, &name, &file, &helpers);
            assert_eq!(run.code(), Some(0), "{file}\n{}", run.report());
        }
    }
}

#[test]
fn a_helper_that_knows_nothing_is_no_error_and_one_that_fails_is() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let host = registry.host();
    let env = Env::new(User::ordinary());
    let file = json!({"credHelpers": {host.clone(): "test"}});
    let nothing = helper_for("nobody");
    fetch(&env, &name, &file, &[("test", &nothing)]).success();
    for (script, parts) in [
        (
            "echo locked >&1; exit 1",
            &["docker-credential-test", "locked"][..],
        ),
        ("echo {", &["cannot understand its answer"]),
        ("yes | head -c 100000", &["65536"]),
        ("yes", &["65536"]),
    ] {
        let run = fetch(&env, &name, &file, &[("test", script)]);
        run.fails(&[&["cannot get credentials", host.as_str()], parts].concat());
    }
    for (program, part) in [
        ("missing", "cannot execute"),
        ("../test", "single component"),
    ] {
        let file = json!({"credHelpers": {host.clone(): program}});
        fetch(&env, &name, &file, &[("test", &nothing)]).fails(&[program, part]);
    }
}

/// The helper itself takes one, and who listens to it others. Of a user who has no other process.
#[test]
fn privileged_where_the_processes_of_the_user_are_few_a_helper_fails_and_nothing_panics() {
    let test = "where_the_processes_of_the_user_are_few_a_helper_fails";
    if User::root(test).is_none() {
        return;
    }
    let registry = Registry::start();
    let (name, host) = (registry.push("i", "1", &image()), registry.host());
    let env = Env::new(User::Number(54_322));
    let file = json!({"credHelpers": {host.clone(): "test"}});
    let mut failed = 0;
    for most in 1..=20 {
        let fetch = fetching(&env, &name, &file, &[("test", &helper_for(&host))]);
        let mut limited = env.program("prlimit");
        limited.arg(format!("--nproc={most}"));
        limited.arg(fetch.get_program()).args(fetch.get_args());
        let set = fetch.get_envs();
        limited.envs(set.filter_map(|(name, value)| Some((name, value?))));
        let run = Run::of(limited);
        if run.status.success() {
            break;
        }
        let run = run.fails(&[]);
        failed += usize::from(run.stderr.contains("docker-credential-test"));
    }
    assert!(failed > 1, "the helper, and then its listeners");
}

#[test]
fn an_identity_token_is_exchanged_for_tokens() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    registry.require(Auth::Token {
        login: Some(("<token>".to_owned(), "sesame".to_owned())),
        realm: None,
        uses: 100,
    });
    let host = registry.host();
    let env = Env::new(User::ordinary());
    let login =
        |token: &str| json!({"auths": {host.clone(): {"auth": "", "identitytoken": token}}});
    fetch(&env, &name, &login("sesame"), &[]).success();
    let env = Env::new(User::ordinary());
    fetch(&env, &name, &login("other"), &[]).fails(&["refuses access"]);
    let script = helper_for(&host).replace("\"u\\", "\"<token>\\");
    let file = json!({"credsStore": "test"});
    fetch(&env, &name, &file, &[("test", &script)]).success();
}

#[test]
fn registries_conf_may_name_helpers_that_are_asked_first() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    require(&registry, "u", "sesame");
    let host = registry.host();
    let env = Env::new(User::ordinary());
    let file = json!({"auths": {host.clone(): entry("u", "wrong")}});
    let helper = helper_for(&host);
    fetch(&env, &name, &file, &[("test", &helper)]).fails(&["refuses access"]);
    env.containers(
        "registries.conf",
        "credential-helpers = ['test', 'containers-auth.json']\n",
    );
    fetch(&env, &name, &file, &[("test", &helper)]).success();
    // One more file, which says nothing about them.
    env.containers("registries.conf.d/99.conf", "");
    let config = env.skua(&["config", "--format=json"]).success().json();
    let entries = config["entries"].as_array().unwrap();
    let helper = |entry: &&serde_json::Value| entry["value"] == "docker-credential-test";
    let origin = entries.iter().find(helper).unwrap()["origin"].as_str();
    assert!(origin.unwrap().ends_with("/registries.conf"), "{config}");
}

#[test]
fn a_credential_of_systemd_is_an_auth_file() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    require(&registry, "u", "p");
    let host = registry.host();
    let env = Env::new(User::ordinary());
    let directory = env.scratch("credentials");
    std::fs::create_dir(&directory).unwrap();
    let auths = json!({"auths": {host: entry("u", "p")}});
    std::fs::write(directory.join("skua.auth.json"), auths.to_string()).unwrap();
    env.give(&directory);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["asks for credentials"]);
    let mut command = env.command(&[INSECURE, "fetch", &name]);
    command.env("CREDENTIALS_DIRECTORY", &directory);
    Run::of(command).success();
}

#[test]
fn a_password_is_for_one_place_only() {
    let (mirror, registry) = (Registry::start(), Registry::start());
    let image = image();
    mirror.push("i", "1", &image);
    let name = registry.push("i", "1", &image);
    let login = |user: &str| Auth::Basic {
        user: user.to_owned(),
        password: "p".to_owned(),
    };
    let pair = |user: &str| STANDARD.encode(format!("{user}:p"));
    let entry = |user: &str| serde_json::json!({"auth": pair(user)});
    mirror.require(login("mirror"));
    registry.require(login("registry"));
    let env = Env::new(User::ordinary());
    let (prefix, location) = (registry.host(), mirror.host());
    env.containers(
        "registries.conf",
        format!(
            "[[registry]]\nprefix = '{prefix}'\n[[registry.mirror]]\nlocation = '{location}'\n"
        ),
    );
    let fetch = |auths: serde_json::Value| {
        let file = env.write(
            "auth.json",
            serde_json::json!({ "auths": auths }).to_string(),
        );
        let mut command = env.command(&[INSECURE, "fetch", &name]);
        command.env("REGISTRY_AUTH_FILE", file);
        Run::of(command)
    };
    // The registry's password alone: the mirror refuses us and does not learn it.
    fetch(serde_json::json!({registry.host(): entry("registry")})).success();
    for request in mirror.requests() {
        assert!(
            !request.headers.contains_key("authorization"),
            "{request:?}"
        );
    }
    fetch(serde_json::json!({
        registry.host(): entry("registry"), mirror.host(): entry("mirror"),
    }))
    .success();
    for (place, user) in [(&mirror, "mirror"), (&registry, "registry")] {
        let sent: Vec<_> = place
            .requests()
            .into_iter()
            .filter_map(|r| r.headers.get("authorization").cloned())
            .collect();
        assert!(!sent.is_empty());
        assert!(
            sent.iter()
                .all(|text| *text == format!("Basic {}", pair(user))),
            "{sent:?}"
        );
    }
}

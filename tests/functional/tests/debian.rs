//! A real distribution from a real registry: fetched with TLS, a password and a signature, run as everybody.

use std::path::Path;

use functional::{
    DockerRegistry, Env, Key, Run, User, debian_layout, missing_program, read_layout, skip,
};

/// Registry, image name and key; `None` when the test cannot run here.
fn published(test: &str) -> Option<(DockerRegistry, String, Key)> {
    if let Some(program) = missing_program(&DockerRegistry::PROGRAMS) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    let layout = debian_layout(test)?;
    let registry = DockerRegistry::start();
    let key = Key::new(3);
    let name = registry.push_signed("distro/debian", "12", &read_layout(&layout, "debian"), &key);
    Some((registry, name, key))
}

/// skua with the test's certificate authority as the system's.
fn skua(env: &Env, authority: &Path, arguments: &[&str]) -> Run {
    let mut command = env.command(arguments);
    command.env("SSL_CERT_FILE", authority);
    Run::of(command)
}

#[test]
fn debian_is_fetched_from_docker_registry_and_runs_as_every_user() {
    let Some((registry, name, key)) = published("debian_is_fetched") else {
        return;
    };
    for user in User::all() {
        let env = Env::new(user);
        registry.log_in(&env);
        env.trust(&registry.name("distro"), &key);
        skua(&env, &registry.authority(), &["fetch", &name]).success();
        let words = [
            "run",
            "--net=none",
            &name,
            "--",
            "/bin/sh",
            "-c",
            "id; exit 7",
        ];
        let run = env.skua(&words).exits(7);
        run.says("uid=0(root) gid=0(root)");
        let python = "import json, ssl, os; print(json.dumps(sorted(os.listdir('/'))[:2]))";
        env.skua(&["run", &name, "--", "python3", "-c", python])
            .success()
            .says(r#"["bin", "boot"]"#);
    }
}

#[test]
fn without_its_certificate_authority_or_password_docker_registry_is_refused() {
    let Some((registry, name, key)) = published("without_its_certificate") else {
        return;
    };
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("distro"), &key);
    skua(&env, &registry.authority(), &["fetch", &name]).fails(&[&registry.name("distro/debian")]);
    registry.log_in(&env);
    env.skua(&["fetch", &name]).fails(&["certificate"]);
}

#[test]
fn skopeo_reads_the_same_image_back() {
    let Some((registry, name, _)) = published("skopeo_reads") else {
        return;
    };
    let env = Env::new(User::ordinary());
    registry.log_in(&env);
    let mut command = env.program("skopeo");
    command
        .args(["inspect", &format!("docker://{name}")])
        .env("SSL_CERT_FILE", registry.authority());
    let run = Run::of(command).success();
    assert_eq!(run.json()["Layers"].as_array().map(Vec::len), Some(8));
}

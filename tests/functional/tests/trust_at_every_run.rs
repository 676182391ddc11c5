//! Trust after the fetch: each run is judged by the policy and the evidence of that moment, without a network; what counted is in
//! the pod's record.

use std::fs;

use functional::{Built, Env, Image, Key, Registry, User};

fn image() -> Built {
    Image::inspect().build()
}

fn pod_manifest(env: &Env, arguments: &[&str]) -> serde_json::Value {
    let uuid = env.scratch("uuid");
    let uuid = uuid.to_str().unwrap();
    let mut line: Vec<&str> = arguments.to_vec();
    let at = line.iter().position(|word| *word == "run").unwrap() + 1;
    line.splice(at..at, ["--uuid-file-save", uuid]);
    env.skua(&line).success();
    let id = fs::read_to_string(uuid).unwrap();
    env.skua(&["cat-manifest", id.trim()]).success().json()
}

#[test]
fn a_revoked_key_refuses_the_next_run_without_network() {
    for user in User::all() {
        let (registry, key) = (Registry::start(), Key::new(1));
        let name = registry.push_signed("demo/image", "1", &image(), &key);
        let prefix = registry.name("demo");
        let env = Env::new(user);
        env.trust(&prefix, &key);
        env.skua(&["fetch", &name]).success();
        drop(registry);
        env.skua(&["run", &name, "--", "exit", "7"]).exits(7);

        let file = env.write("revoked.pem", key.public_pem());
        env.trust(&prefix, &Key::new(2));
        env.skua(&["trust", "rm", "--prefix", &prefix, file.to_str().unwrap()])
            .success();
        env.skua(&["run", "--pull=never", &name, "--", "exit", "7"])
            .fails(&[&name, "not trusted", "not the scope's"]);

        env.trust(&prefix, &key);
        env.skua(&["run", "--pull=never", &name, "--", "exit", "7"])
            .exits(7);
        env.skua(&["trust", "rm", "--prefix", &prefix]).success();
        env.skua(&["run", "--pull=never", &name, "--", "exit", "7"])
            .fails(&[&name, "no scope of the trust policy"]);
    }
}

#[test]
fn evidence_that_is_gone_or_damaged_refuses_the_next_run() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push_signed("demo/image", "1", &image, &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &key);
    env.skua(&["fetch", &name]).success();
    let hex = &image.digest()["sha256:".len()..];
    let evidence = env.data().join("store/evidence/sha256").join(hex);
    let payload = fs::read_dir(&evidence)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let payload = payload
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "payload"));
    let payload = payload.expect("the payload is kept");
    let run = ["run", "--pull=never", &name, "--", "exit", "7"];
    let good = fs::read(&payload).unwrap();
    fs::write(&payload, [good.as_slice(), b" "].concat()).unwrap();
    env.skua(&run)
        .fails(&["not trusted", "not the scope's, or over something else"]);
    fs::write(&payload, &good).unwrap();
    env.skua(&run).exits(7);
    fs::remove_dir_all(&evidence).unwrap();
    env.skua(&run).fails(&["not trusted", "and it has none"]);
}

#[test]
fn the_way_round_trust_is_in_the_pod_s_record_for_ever() {
    let registry = Registry::start();
    let name = registry.push("demo/image", "1", &image());
    for user in User::all() {
        let env = Env::new(user);
        let line = ["--insecure-options=image", "run", &name, "--", "exit", "0"];
        let manifest = pod_manifest(&env, &line);
        assert_eq!(manifest["insecure_options"], serde_json::json!(["image"]));
        assert_eq!(
            manifest["apps"][0]["image"]["trust"]["kind"],
            "insecure-option"
        );
        // It was for that run only.
        env.skua(&["run", &name, "--", "exit", "0"])
            .fails(&[&name, "not trusted"]);
    }
}

#[test]
fn the_record_of_a_pod_says_who_signed() {
    let (registry, key) = (Registry::start(), Key::new(1));
    let name = registry.push_signed("demo/image", "1", &image(), &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &key);
    let manifest = pod_manifest(&env, &["run", &name, "--", "exit", "0"]);
    let trust = &manifest["apps"][0]["image"]["trust"];
    let listed = env
        .skua(&["trust", "list", "--format=json"])
        .success()
        .json();
    assert_eq!(trust["kind"], "signed");
    assert_eq!(trust["prefix"], registry.name("demo").as_str());
    assert_eq!(
        trust["keys"][0],
        listed["scopes"][0]["keys"][0]["fingerprint"]
    );
    assert_eq!(manifest["insecure_options"], serde_json::json!([]));
}

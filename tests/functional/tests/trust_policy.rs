//! The policy itself: who may write it, how it is changed, what `trust test` tells about it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use functional::{Built, Cosign, Env, Image, Key, Registry, Run, User};

fn image() -> Built {
    Image::inspect().build()
}

/// The policy files of a directory; what its writers lock is none.
fn policies(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.ends_with(".lock"));
    paths
}

#[test]
fn a_policy_that_others_can_write_stops_every_run() {
    let (registry, key) = (Registry::start(), Key::new(1));
    let name = registry.push_signed("demo/image", "1", &image(), &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &key);
    env.skua(&["fetch", &name]).success();
    let directory = env.config().join("trust.d");
    let file = policies(&directory).remove(0);
    for path in [&directory, &file] {
        let good = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(good.mode() | 0o020)).unwrap();
        env.skua(&["run", &name, "--", "exit", "7"]).fails(&[
            "refusing",
            path.to_str().unwrap(),
            "lets others write it",
        ]);
        fs::set_permissions(path, good).unwrap();
    }
    env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
}

#[test]
fn privileged_a_policy_of_another_user_is_refused() {
    let Some(root) = User::root("privileged_a_policy_of_another_user_is_refused") else {
        return;
    };
    let (registry, key) = (Registry::start(), Key::new(1));
    let name = registry.push_signed("demo/image", "1", &image(), &key);
    let env = Env::new(root);
    env.trust(&registry.name("demo"), &key);
    let (uid, gid) = User::Subordinate.ids();
    let directory = env.config().join("trust.d");
    std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).unwrap();
    env.skua(&["run", &name, "--", "exit", "7"])
        .fails(&["belongs to user", "trust.d"]);
}

#[test]
fn privileged_a_key_of_another_user_is_taken_from_who_became_root_with_sudo_alone() {
    let test = "privileged_a_key_of_another_user_is_taken_from_who_became_root_with_sudo_alone";
    let Some(root) = User::root(test) else {
        return;
    };
    let env = Env::new(root);
    let key = env.write("key.pem", Key::new(1).public_pem());
    let (uid, gid) = User::Subordinate.ids();
    std::os::unix::fs::chown(&key, Some(uid), Some(gid)).unwrap();
    let add = |invoker: Option<u32>| {
        let key = key.to_str().unwrap();
        let mut command = env.command(&["trust", "add", "--prefix=a.example/team", key]);
        command.env_remove("SUDO_UID");
        if let Some(invoker) = invoker {
            command.env("SUDO_UID", invoker.to_string());
        }
        Run::of(command)
    };
    for other in [None, Some(uid + 1)] {
        add(other).fails(&["key.pem", "belongs to user"]);
    }
    add(Some(uid)).success();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    add(Some(uid)).fails(&["lets others write it"]);
}

#[test]
fn trust_test_prints_each_rule_and_each_signature() {
    let (registry, image) = (Registry::start(), image());
    let name = registry.push("demo/image", "1", &image);
    let identity = registry.name("demo/image");
    let signatures = Cosign::new()
        .sign(&Key::new(9), &identity, image.digest())
        .sign(&Key::new(1), &identity, image.digest())
        .sign(&Key::new(2), &identity, image.digest())
        .sign(&Key::new(1), &registry.name("demo/other"), image.digest());
    registry.push_signatures("demo/image", image.digest(), &signatures);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &Key::new(1));
    env.trust(&registry.name("demo/im"), &Key::new(1));
    let scope = "[[scope]]\nprefix = \"*\"\nrule = \"reject\"\n";
    env.policy("all.toml", scope);
    // Before there is one, what would be asked of it.
    let before = env.skua(&["trust", "test", &name]);
    let before = before.fails(&["not in the store"]);
    let before = before.says("decides").says("signed by 1 of 1");
    before.says("ed25519 ").lacks("no signatures");
    let other = env.skua(&["trust", "test", "example.org/other:1"]);
    other.says("decides").fails(&["rejects it"]);
    env.skua(&["fetch", &name]).success();
    drop(registry);
    let shown = env.skua(&["trust", "test", &name]).success();
    for part in [
        image.digest(),
        "decides",
        "ends in the middle of a component",
        "covers it, but a longer prefix decides",
        "signed by 1 of 1",
        "holds: key",
        "does not count: made with a key that is not the scope's",
        "does not count: signed for repository",
        "trusted: signed for",
    ] {
        assert!(
            shown.stdout.contains(part),
            "expected {part:?}\n{}",
            shown.report()
        );
    }
    assert_eq!(
        shown.stdout.matches("does not count").count(),
        3,
        "{}",
        shown.report()
    );
    env.skua(&[
        "trust",
        "rm",
        "--prefix",
        identity.strip_suffix("/image").unwrap(),
    ])
    .success();
    let refused = env.skua(&["trust", "test", &name]);
    assert!(refused.stdout.contains("reject"), "{}", refused.report());
    refused.fails(&["rejects it"]);
}

/// The commonest first failure: what each of the two commands tells, the other does not send one back for.
#[test]
fn what_is_missing_is_told_by_the_refusal_and_by_trust_test_together() {
    let registry = Registry::start();
    let name = registry.push_signed("demo/image", "1", &image(), &Key::new(2));
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &Key::new(1));
    let hint = format!("hint: 'skua trust test {name}' shows each rule and the keys");
    let refused = [
        "wants a signature by its key",
        "made with a key that is not",
    ];
    env.skua(&["fetch", &name]).fails(&refused).complains(&hint);
    let shown = env.skua(&["trust", "test", &name]).says("signed by 1 of 1");
    shown.fails(&["not in the store"]);
    // Fetched all the same: what is known is printed, and nothing left that it could point to.
    env.skua(&["--insecure-options=image", "fetch", &name])
        .success();
    let shown = env.skua(&["trust", "test", &name]);
    let shown = shown.says("does not count: made with a key that is not the scope's");
    let shown = shown.fails(&["wants a signature by its key"]);
    assert!(!shown.stderr.contains("hint"), "{}", shown.report());
}

#[test]
fn a_key_that_is_still_needed_stays_and_the_remedy_is_told() {
    let env = Env::new(User::ordinary());
    let add = ["trust", "add", "--prefix=a.example", "--threshold=2"];
    let files = [1, 2].map(|n| env.write(&format!("{n}.pem"), Key::new(n).public_pem()));
    let [one, two] = files.each_ref().map(|file| file.to_str().unwrap());
    env.skua(&[&add[..], &[one, two]].concat()).success();
    let remove = ["trust", "rm", "--prefix=a.example", two];
    env.skua(&remove)
        .fails(&["wants signatures by 2 keys, and would have 1"])
        .complains("first 'skua trust add --threshold 1 --prefix a.example KEY'");
    env.skua(&["trust", "add", "--threshold=1", "--prefix=a.example", one])
        .success();
    env.skua(&remove).success();
}

#[test]
fn keys_are_added_merged_listed_and_removed() {
    let env = Env::new(User::ordinary());
    let add = |name: &str, text: String| {
        let file = env.write(name, text);
        env.skua(&[
            "trust",
            "add",
            "--prefix",
            "a.example/team/",
            file.to_str().unwrap(),
        ])
    };
    add("1.pem", Key::new(1).public_pem())
        .success()
        .says("trusted ed25519 key sha256:");
    add("2.pub", Key::new(2).minisign_public())
        .success()
        .says("trusted minisign key sha256:");
    add("1.pem", Key::new(1).public_pem()).success();
    let file = env.config().join("trust.d/a.example+team.toml");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    let listed = env
        .skua(&["trust", "list", "--format=json"])
        .success()
        .json();
    let scope = &listed["scopes"][0];
    assert_eq!(listed["version"], 1);
    assert_eq!(scope["prefix"], "a.example/team");
    let keys = scope["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let first = keys[0]["fingerprint"].as_str().unwrap();
    let short = &first["sha256:".len()..][..16];
    env.skua(&["trust", "list"]).success().says(short);
    env.skua(&["trust", "rm", "--prefix", "a.example/team", short])
        .success()
        .says(first);
    env.skua(&["trust", "rm", "--prefix", "a.example/team", first])
        .fails(&["has no key"]);
    let second = keys[1]["fingerprint"].as_str().unwrap();
    env.skua(&["trust", "rm", "--prefix", "a.example/team", second])
        .success()
        .says("scope removed");
    assert!(!file.exists());
    env.skua(&["trust", "rm", "--prefix", "a.example/team"])
        .fails(&["there is no scope"]);
}

#[test]
fn what_is_no_key_is_not_added() {
    let env = Env::new(User::ordinary());
    let secret = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n";
    let good = Key::new(1).public_pem();
    let cases = [
        ("a.example", secret, "this is a private key"),
        ("a.example", "hello", "not a public key"),
        ("a.example", "", "not a public key"),
        ("library/nginx", good.as_str(), "no registry host"),
        ("a.example/x:1", good.as_str(), "no tag"),
        ("", good.as_str(), "empty"),
    ];
    for (prefix, text, expected) in cases {
        let file = env.write("key", text);
        env.skua(&["trust", "add", "--prefix", prefix, file.to_str().unwrap()])
            .fails(&[expected]);
    }
    let file = env.write("key", &good);
    env.skua(&[
        "trust",
        "add",
        "--prefix=a.example",
        "--threshold=2",
        file.to_str().unwrap(),
    ])
    .fails(&["threshold of 2 with 1"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    env.skua(&["trust", "add", "--prefix=a.example", file.to_str().unwrap()])
        .fails(&["lets others write it"]);
    let left = policies(&env.config().join("trust.d"));
    assert!(left.is_empty(), "something was written: {left:?}");
}

#[test]
fn a_policy_json_of_containers_is_imported_with_its_meaning_or_not_at_all() {
    use base64::Engine as _;
    let (registry, image, key) = (Registry::start(), image(), Key::new(1));
    let signed = registry.push_signed("team/app", "1", &image, &key);
    let unsigned = registry.push("other/app", "1", &image);
    let env = Env::new(User::ordinary());
    let key_data = base64::engine::general_purpose::STANDARD.encode(key.public_pem());
    let import_with = |requirement: serde_json::Value, flags: &[&str]| {
        let policy = serde_json::json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": {registry.name("team"): [requirement]}},
        });
        let file = env.write("policy.json", policy.to_string());
        let import = ["trust", "import", file.to_str().unwrap()];
        env.skua(&[&import[..], flags].concat())
    };
    let import = |requirement| import_with(requirement, &[]);
    let identity = serde_json::json!({"type": "matchRepository"});
    let scope = serde_json::json!({
        "type": "sigstoreSigned", "keyData": key_data, "signedIdentity": identity,
    });
    for (key, value, why) in [
        ("type", serde_json::json!("signedBy"), "policy.json"),
        (
            "signedIdentity",
            serde_json::json!({"type": "matchExact"}),
            "matchExact",
        ),
        ("keyData", serde_json::json!("***"), "base64"),
    ] {
        let mut other = scope.clone();
        other[key] = value;
        import(other).fails(&["cannot import", why]);
        assert!(!env.config().join("trust.d").exists(), "{key}");
    }
    let team = registry.name("team");
    let rule = |rule: &str| format!("{team}  {rule}\n");
    // A scope of 'trust add' is in another file, whoever wrote it.
    env.trust(&team, &key);
    import(scope.clone()).fails(&["is in", ".toml already"]);
    env.skua(&["trust", "rm", "--prefix", &team]).success();
    let anything = serde_json::json!({"type": "insecureAcceptAnything"});
    let imported = import(anything).success();
    imported.says(&rule("insecure-accept-anything"));
    let file = env.config().join("trust.d/policy.json.toml");
    let before = fs::read(&file).unwrap();
    import(scope.clone())
        .fails(&["there is an import already", "policy.json.toml"])
        .complains("--replace");
    assert_eq!(fs::read(&file).unwrap(), before);
    let imported = import_with(scope, &["--replace"]).success();
    imported.says(&rule("signed")).says("reject\n");
    env.skua(&["run", &signed, "--", "exit", "7"]).exits(7);
    env.skua(&["run", &unsigned]).fails(&["rejects it"]);
}

/// Who takes a key away never trusts more than before, and is told what decides.
#[test]
fn with_its_last_key_a_scope_rejects_where_another_would_accept() {
    for user in User::all() {
        let (registry, key) = (Registry::start(), Key::new(1));
        let signed = registry.push_signed("team/app", "1", &image(), &key);
        let env = Env::new(user);
        let team = registry.name("team");
        let everything = "[[scope]]\nprefix = \"*\"\nrule = \"insecure-accept-anything\"\n";
        env.policy("all.toml", everything);
        env.trust(&team, &key);
        let run = || env.skua(&["run", "--rm", &signed, "--", "exit", "7"]);
        let file = env.write("key.pem", key.public_pem());
        let remove = ["trust", "rm", "--prefix", &team, file.to_str().unwrap()];
        run().exits(7);
        let told = env.skua(&remove).success();
        told.says("no longer trusted")
            .says("no key is left, all is rejected")
            .says("the scope '*' in ")
            .says("insecure-accept-anything");
        run().fails(&["rejects it"]);
        // It can be trusted again, and given up.
        env.trust(&team, &key);
        run().exits(7);
        env.skua(&remove).success();
        let removed = env.skua(&["trust", "rm", "--prefix", &team]).success();
        removed.says("scope removed, what decides now is the scope '*' in ");
        run().exits(7);
        // Where no other accepts, nothing stays.
        env.policy(
            "all.toml",
            &everything.replace("insecure-accept-anything", "reject"),
        );
        env.trust(&team, &key);
        env.skua(&remove).success().says("scope removed");
        run().fails(&["rejects it"]);
    }
}

#[test]
fn the_listing_of_scopes_has_keys_like_every_other_document() {
    let env = Env::new(User::ordinary());
    let file = env.write("key.pem", Key::new(1).public_pem());
    let add = [
        "trust",
        "add",
        "--prefix=oci:/srv/x",
        "--signed-as=a.example/b",
    ];
    env.skua(&[&add[..], &[file.to_str().unwrap()]].concat())
        .success();
    let listed = env.skua(&["trust", "list", "--format=json"]).success();
    let scopes = listed.json();
    assert_eq!(scopes["scopes"][0]["signed_as"], "a.example/b");
    assert!(!listed.stdout.contains("signed-as"), "{}", listed.report());
}

//! Registries as they are: who may ask, what goes wrong on the way, and where a registry may not send us.

use std::time::Duration;

use functional::registry::{Action, Auth, Fault};
use functional::{
    Built, DockerRegistry, Env, Image, Key, Layer, Registry, Run, User, missing_program, skip,
};

const INSECURE: &str = "--insecure-options=image";

fn image() -> Built {
    Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .build()
}

fn log_in(env: &Env, host: &str, user: &str, password: &str) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let directory = env.home().join("run/containers");
    std::fs::create_dir_all(&directory).unwrap();
    let document = serde_json::json!({"auths": {host: {"auth": auth}}});
    std::fs::write(directory.join("auth.json"), document.to_string()).unwrap();
    env.give(&env.home().join("run"));
}

fn basic(user: &str, password: &str) -> Auth {
    Auth::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

#[test]
fn a_password_of_the_auth_file_is_used_and_its_absence_is_said() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    registry.require(basic("someone", "open sesame"));
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["asks for credentials"]);
    log_in(&env, &registry.host(), "someone", "wrong");
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["refuses access"]);
    log_in(&env, "other.example", "someone", "open sesame");
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["asks for credentials"]);
    log_in(&env, &registry.host(), "someone", "open sesame");
    env.skua(&[INSECURE, "fetch", &name]).success();
}

#[test]
fn a_token_is_asked_for_and_asked_for_again_when_it_is_used_up() {
    let registry = Registry::start();
    let name = registry.push("some/image", "1", &image());
    for login in [None, Some(("u".to_owned(), "p".to_owned()))] {
        let env = Env::new(User::ordinary());
        registry.require(Auth::Token {
            login: login.clone(),
            realm: None,
            uses: 2,
        });
        if login.is_some() {
            env.skua(&[INSECURE, "fetch", &name])
                .fails(&["refuses access"]);
            log_in(&env, &registry.host(), "u", "p");
        }
        registry.forget_requests();
        env.skua(&[INSECURE, "fetch", &name]).success();
        let requests = registry.requests();
        let tokens: Vec<_> = requests
            .iter()
            .filter(|r| r.path.starts_with("/token"))
            .collect();
        assert!(tokens.len() >= 2, "{requests:#?}");
        for token in tokens {
            let scope = token.path.replace("%3A", ":").replace("%2F", "/");
            assert!(scope.contains("repository:some/image:pull"), "{scope}");
        }
    }
}

#[test]
fn a_token_server_that_could_steal_the_password_is_not_asked() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let env = Env::new(User::ordinary());
    log_in(&env, &registry.host(), "u", "p");
    for (realm, reason) in [
        ("http://localhost:1/token", "would get the password"),
        ("http://169.254.169.254/token", "link-local"),
        ("file:///etc/passwd", "neither http nor https"),
        ("nothing", "no URL"),
    ] {
        registry.require(Auth::Token {
            login: None,
            realm: Some(realm.to_owned()),
            uses: 9,
        });
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["token server", reason]);
    }
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let registry = Registry::start();
    let store = Registry::start();
    let image = image();
    let name = registry.push("i", "1", &image);
    store.push("i", "1", &image);
    registry.require(basic("u", "p"));
    let base = format!("http://{}", store.host());
    registry.fault(Fault::always("/blobs/", Action::Redirect(base)));
    let env = Env::new(User::ordinary());
    log_in(&env, &registry.host(), "u", "p");
    env.skua(&[INSECURE, "fetch", &name]).success();
    assert!(
        registry
            .requests()
            .iter()
            .any(|r| r.headers.contains_key("authorization"))
    );
    let redirected = store.requests();
    assert!(!redirected.is_empty());
    for request in redirected {
        assert!(
            !request.headers.contains_key("authorization"),
            "{request:?}"
        );
    }
}

#[test]
fn a_redirect_that_leads_nowhere_good_is_not_followed() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let env = Env::new(User::ordinary());
    for (base, reason) in [
        ("http://169.254.169.254", "link-local"),
        ("file://", "neither http nor https"),
        ("http://u:p@127.0.0.1:1", "user name or password"),
    ] {
        registry.clear_faults();
        registry.fault(Fault::always("/blobs/", Action::Redirect(base.to_owned())));
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["redirect", reason]);
    }
    registry.clear_faults();
    let itself = format!("http://{}", registry.host());
    registry.fault(Fault::always("/blobs/", Action::Redirect(itself)));
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["more than 5 in a row"]);
}

#[test]
fn a_busy_registry_is_asked_again_but_not_for_ever() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let env = Env::new(User::ordinary());
    let retry = vec![("Retry-After".to_owned(), "1".to_owned())];
    registry.fault(Fault::times(1, "/manifests/1", Action::Status(429, retry)));
    registry.fault(Fault::times(2, "/blobs/", Action::Status(503, vec![])));
    let run = env.skua(&[INSECURE, "fetch", &name]).success();
    assert!(
        run.elapsed >= Duration::from_secs(1),
        "Retry-After is heeded"
    );
    registry.fault(Fault::always("/manifests/2", Action::Status(500, vec![])));
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &registry.name("i:2")])
        .fails(&["500"]);
    assert_eq!(registry.requests().len(), 5);
}

#[test]
fn what_is_not_there_is_said() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &registry.name("no/such:1")])
        .fails(&["no/such:1", "no such image"]);
    env.skua(&[INSECURE, "fetch", "127.0.0.1:1/x:1"])
        .fails(&["127.0.0.1:1/x:1: cannot reach 127.0.0.1:1: Connection refused"]);
}

#[test]
fn documents_that_two_readers_could_understand_differently_are_refused() {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let registry = Registry::start();
    let image = image();
    registry.push("i", "1", &image);
    let good = String::from_utf8(image.manifest.bytes.clone()).unwrap();
    let twice = good.replacen('{', "{\"schemaVersion\":2,", 1);
    let both = good.replacen('{', "{\"manifests\":[],", 1);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deep = good.replacen('{', &format!("{{\"x\":{deep},"), 1);
    let huge = format!("{good}{}", " ".repeat(5 << 20));
    let trailing = format!("{good}{{}}");
    let env = Env::new(User::ordinary());
    for (tag, media_type, document, expected) in [
        ("twice", MANIFEST, &twice, "stands twice"),
        ("both", MANIFEST, &both, "both a manifest and an index"),
        ("called-index", INDEX, &good, "something else"),
        ("deep", MANIFEST, &deep, "nested"),
        ("huge", MANIFEST, &huge, "4194304"),
        ("trailing", MANIFEST, &trailing, "trailing characters"),
    ] {
        registry.put_manifest("i", tag, media_type, document.as_bytes());
        let name = registry.name(&format!("i:{tag}"));
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["manifest", expected]);
    }
}

#[test]
fn an_image_for_another_machine_and_an_artifact_are_refused() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    let foreign = Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .edit_config("architecture", serde_json::json!("s390x"))
        .build();
    let name = registry.push("foreign", "1", &foreign);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["linux/s390x"]);
    let config = serde_json::json!({
        "mediaType": "application/vnd.example+json", "size": 2, "digest": functional::sha256(b"{}"),
    });
    let artifact = Image::new().edit_manifest("config", config).build();
    let name = registry.push("artifact", "1", &artifact);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["no image", "vnd.example"]);
}

#[test]
fn a_size_that_lies_is_noticed() {
    let registry = Registry::start();
    let image = image();
    let name = registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    let layer = format!("/blobs/{}", image.layers[0].digest);
    registry.fault(Fault::times(1, &layer, Action::Append(vec![0; 512])));
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "more than"]);
    registry.fault(Fault::times(1, "/blobs/", Action::Append(b" ".to_vec())));
    env.skua(&[INSECURE, "fetch", &name]).fails(&["config"]);
    env.skua(&[INSECURE, "fetch", &name]).success();
}

#[test]
fn a_certificate_is_checked_unless_the_user_says_otherwise() {
    if let Some(program) = missing_program(&DockerRegistry::PROGRAMS) {
        return skip(
            "a_certificate_is_checked",
            &format!("{program} is not installed"),
        );
    }
    let registry = DockerRegistry::start();
    let name = registry.push_signed("i", "1", &image(), &Key::new(1));
    for user in User::all() {
        let env = Env::new(user);
        registry.log_in(&env);
        let empty = env.write("empty.pem", "");
        let fetch = |options: &str, authority: Option<&std::path::Path>| {
            let mut command = env.command(&[options, "fetch", &name]);
            command.envs(authority.map(|path| ("SSL_CERT_FILE", path)));
            Run::of(command)
        };
        fetch(INSECURE, None).fails(&["certificate"]);
        fetch(INSECURE, Some(&empty)).fails(&["SSL_CERT_FILE", "empty.pem", "no PEM certificate"]);
        fetch(INSECURE, Some(&registry.authority())).success();
        fetch("--insecure-options=image,tls", None).success();
    }
}

#[test]
fn a_registry_on_this_machine_is_reached_by_name_and_past_a_proxy() {
    let registry = Registry::start();
    registry.push("i", "1", &image());
    let name = registry.name("i:1").replace("127.0.0.1", "localhost");
    for user in User::all() {
        let env = Env::new(user);
        let mut command = env.command(&[INSECURE, "fetch", &name]);
        command.env("http_proxy", "http://127.0.0.1:1");
        Run::of(command).success();
    }
}

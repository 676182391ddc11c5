//! `certs.d`: a registry with a certificate authority of its own, and one that wants to know who we are.

use std::path::Path;

use functional::registry::{Action, Fault};
use functional::{
    Built, DockerRegistry, Env, Image, Key, Layer, Proxy, Registry, Run, User, binaries,
    missing_program, sh, skip,
};

const INSECURE: &str = "--insecure-options=image";

fn image() -> Built {
    Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .build()
}

fn registry(test: &str, start: impl FnOnce() -> DockerRegistry) -> Option<DockerRegistry> {
    if let Some(program) = missing_program(&DockerRegistry::PROGRAMS) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    Some(start())
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn an_authority_in_certs_d_is_for_its_registry_alone() {
    let test = "an_authority_in_certs_d";
    let Some(one) = registry(test, DockerRegistry::start) else {
        return;
    };
    let other = DockerRegistry::start();
    let name = one.push_signed("i", "1", &image(), &Key::new(1));
    let elsewhere = other.push_signed("i", "1", &image(), &Key::new(1));
    for user in User::all() {
        let env = Env::new(user);
        one.log_in(&env);
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["certificate", &format!("certs.d/{}/ca.crt", one.host())]);
        env.containers(
            &format!("certs.d/{}/ca.crt", one.host()),
            text(&one.authority()),
        );
        env.skua(&[INSECURE, "fetch", &name]).success();
        // Its authority is known for the other name only.
        env.containers(
            &format!("certs.d/{}/ca.crt", one.host()),
            text(&other.authority()),
        );
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["certificate"]);
        other.log_in(&env);
        env.skua(&[INSECURE, "fetch", &elsewhere])
            .fails(&["certificate"]);
    }
}

#[test]
fn a_registry_that_wants_a_client_certificate_gets_the_one_of_its_directory() {
    let test = "a_client_certificate";
    let start = DockerRegistry::start_with_client_certificates;
    let Some(registry) = registry(test, start) else {
        return;
    };
    let name = registry.push_signed("i", "1", &image(), &Key::new(1));
    let (certificate, key) = registry.client();
    for user in User::all() {
        let env = Env::new(user);
        registry.log_in(&env);
        let put = |file: &str, content: String| {
            env.containers(&format!("certs.d/{}/{file}", registry.host()), content)
        };
        put("ca.crt", text(&registry.authority()));
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["wants a client certificate", &registry.host()]);
        let half = put("me.cert", text(&certificate));
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["me.cert", "me.key is missing"])
            .complains("NAME.crt");
        put("me.key", text(&key));
        env.skua(&[INSECURE, "fetch", &name]).success();
        std::fs::remove_file(half).unwrap();
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["me.key", "me.cert is missing"]);
    }
}

#[test]
fn a_client_certificate_is_not_shown_where_a_redirect_leads() {
    let test = "a_client_certificate_is_not_shown";
    let start = DockerRegistry::start_with_client_certificates;
    let Some(curious) = registry(test, start) else {
        return;
    };
    let front = Registry::start();
    let name = front.push("i", "1", &image());
    let base = format!("https://{}", curious.host());
    front.fault(Fault::always("/blobs/", Action::Redirect(base)));
    let env = Env::new(User::ordinary());
    let (certificate, key) = curious.client();
    for (file, from) in [
        ("ca.crt", curious.authority()),
        ("me.cert", certificate),
        ("me.key", key),
    ] {
        env.containers(&format!("certs.d/{}/{file}", front.host()), text(&from));
    }
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&[&curious.host(), "wants a client certificate"]);
}

#[test]
fn a_file_of_certs_d_that_is_not_what_its_name_says_is_named() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let env = Env::new(User::ordinary());
    env.containers(&format!("certs.d/{}/ca.crt", registry.host()), "der");
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["ca.crt", "no PEM certificate"]);
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn a_user_has_a_certs_d_of_their_own() {
    let Some(registry) = registry("a_user_has_a_certs_d", DockerRegistry::start) else {
        return;
    };
    let name = registry.push_signed("i", "1", &image(), &Key::new(1));
    let env = Env::new(User::ordinary());
    registry.log_in(&env);
    let fetch = || {
        let mut command = env.program(binaries().join("skua"));
        command.arg("--data-dir").arg(env.data());
        command.args([INSECURE, "fetch", &name]);
        Run::of(command)
    };
    fetch().fails(&["certificate"]);
    let directory = env
        .home()
        .join(".config/containers/certs.d")
        .join(registry.host());
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(registry.authority(), directory.join("ca.crt")).unwrap();
    env.give(&env.home());
    match env.user().is_root() {
        true => fetch().fails(&["certificate"]),
        false => fetch().success(),
    };
}

#[test]
fn privileged_without_any_authority_https_says_so_and_loopback_http_works() {
    let test = "privileged_without_any_authority";
    let Some(root) = User::root(test) else { return };
    let Some(tls) = registry(test, DockerRegistry::start) else {
        return;
    };
    let plain = Registry::start();
    let signed = tls.push_signed("i", "1", &image(), &Key::new(1));
    let name = plain.push("i", "1", &image());
    let env = Env::new(root);
    tls.log_in(&env);
    // Only these commands see that there is nothing.
    let fetch = |name: &str| {
        let mut command = env.program("unshare");
        command.args(["--mount", "sh", "-ec"]).arg(format!(
            "for at in /etc/ssl /etc/pki /usr/lib/ssl /usr/share/ca-certificates /usr/local/share/ca-certificates
             do if [ -d $at ]; then mount -t tmpfs tmpfs $at; fi; done
             exec {} --data-dir {} --config-dir {} {INSECURE} fetch {name}",
            binaries().join("skua").display(),
            env.data().display(),
            env.config().display(),
        ));
        Run::of(command)
    };
    fetch(&name).success();
    fetch(&signed).fails(&[
        "no CA certificates are installed",
        "ca-certificates",
        "certs.d",
    ]);
    env.containers(
        &format!("certs.d/{}/ca.crt", tls.host()),
        text(&tls.authority()),
    );
    fetch(&signed).success();
}

#[test]
fn a_proxy_of_the_environment_is_used_unless_the_host_is_exempt() {
    let Some(tls) = registry("a_proxy_of_the_environment", DockerRegistry::start) else {
        return;
    };
    let plain = Registry::start();
    tls.push_signed("i", "1", &image(), &Key::new(1));
    plain.push("i", "1", &image());
    let tunnel = Proxy::start(&tls.host());
    let http = format!("http://{}", plain.host());
    for (https_variable, http_variable, exempt) in [
        ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        ("https_proxy", "http_proxy", "no_proxy"),
        ("ALL_PROXY", "HTTP_PROXY", "no_proxy"),
    ] {
        let env = Env::new(User::ordinary());
        let auth = env.write("auth.json", tls.auth_file("registry.test"));
        let fetch = |options: &str, hosts: &str| {
            let mut command = env.command(&[options, "fetch", "registry.test/i:1"]);
            command
                .env(https_variable, tunnel.url())
                .env(http_variable, &http)
                .env(exempt, hosts)
                .env("REGISTRY_AUTH_FILE", &auth)
                .env("SSL_CERT_FILE", tls.authority());
            Run::of(command)
        };
        fetch(INSECURE, "other.test").success();
        assert!(tunnel.asked().contains(&"registry.test:443".to_owned()));
        fetch("--insecure-options=image,http", "").success();
        assert!(
            plain
                .requests()
                .iter()
                .any(|r| r.headers["host"] == "registry.test")
        );
        fetch(INSECURE, "localhost,.test").fails(&["cannot reach registry.test"]);
    }
}

#[test]
fn privileged_a_worker_of_root_needs_no_right_to_read_the_key() {
    let test = "privileged_a_worker_of_root";
    let Some(root) = User::root(test) else { return };
    let start = DockerRegistry::start_with_client_certificates;
    let Some(registry) = registry(test, start) else {
        return;
    };
    let name = registry.push_signed("i", "1", &image(), &Key::new(1));
    let env = Env::new(root);
    registry.log_in(&env);
    let (certificate, key) = registry.client();
    let at = |file: &str| format!("certs.d/{}/{file}", registry.host());
    env.containers(&at("ca.crt"), text(&registry.authority()));
    env.containers(&at("me.cert"), text(&certificate));
    let key = env.containers(&at("me.key"), text(&key));
    sh(&format!(
        "chmod 600 {}; chmod 700 {}",
        key.display(),
        key.parent().unwrap().display()
    ));
    env.skua(&[INSECURE, "fetch", &name]).success();
}

#[test]
fn an_insecure_registry_needs_neither_a_known_certificate_nor_tls() {
    if let Some(program) = missing_program(&DockerRegistry::PROGRAMS) {
        return skip(
            "an_insecure_registry",
            &format!("{program} is not installed"),
        );
    }
    let (tls, plain) = (DockerRegistry::start(), Registry::start());
    let key = Key::new(1);
    let image = image();
    tls.push_signed("i", "1", &image, &key);
    plain.push("i", "1", &image);
    let tunnel = Proxy::start(&tls.host());
    let nowhere = Proxy::start(&plain.host());
    for (proxy, port) in [(&tunnel, tls.host()), (&nowhere, plain.host())] {
        let env = Env::new(User::ordinary());
        let authority = env.write("empty.pem", "");
        let fetch = || {
            let mut command = env.command(&[INSECURE, "fetch", "registry.test/i:1"]);
            // TLS goes through the tunnel; without TLS the plain registry itself is the proxy.
            command.env("https_proxy", proxy.url());
            command.env("http_proxy", format!("http://{}", plain.host()));
            command.env("SSL_CERT_FILE", &authority);
            let auth = env.write("auth.json", tls.auth_file("registry.test"));
            command.env("REGISTRY_AUTH_FILE", auth);
            Run::of(command)
        };
        fetch().fails(&["registry.test"]);
        env.containers(
            "registries.conf",
            "[[registry]]\nlocation = 'registry.test'\ninsecure = true\n",
        );
        let run = fetch();
        assert_eq!(run.code(), Some(0), "{port}\n{}", run.report());
        assert!(proxy.asked().contains(&"registry.test:443".to_owned()));
    }
    assert!(!plain.requests().is_empty());
}

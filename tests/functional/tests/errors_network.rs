//! What a user is told when a registry cannot be reached, is not trusted, or does not let us in.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use functional::registry::Auth;
use functional::{
    Built, Env, Image, Layer, Proxy, Registry, Run, User, eventually, missing_program, skip,
};
use serde_json::json;

const INSECURE: &str = "--insecure-options=image";
/// A name that is asked for through a proxy, which leads to this machine.
const NAME: &str = "registry.test/a/b:1";

fn image() -> Built {
    Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .build()
}

fn fetch(env: &Env, name: &str, variables: &[(&str, &str)]) -> Run {
    let mut command = env.command(&[INSECURE, "fetch", name]);
    command.envs(variables.iter().copied());
    Run::of(command)
}

/// An authority, and servers with certificates of it.
struct Authority(PathBuf);

impl Authority {
    fn new(env: &Env) -> Self {
        let authority = Self(env.scratch("tls"));
        fs::create_dir(&authority.0).expect("mkdir");
        fs::set_permissions(&authority.0, fs::Permissions::from_mode(0o755)).expect("chmod");
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
            policy=p\n[p]\ncommonName=supplied\n";
        for (name, text) in [("index", ""), ("serial", "01"), ("ca.cnf", config)] {
            fs::write(authority.0.join(name), text).expect("write");
        }
        authority.request("ca", &["-x509", "-days", "2", "-out", "ca.pem"]);
        authority
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(&self.0);
        Run::of(command).success();
    }

    fn request(&self, name: &str, arguments: &[&str]) {
        let (key, subject) = (format!("{name}.key"), format!("/CN={name}"));
        let request = ["req", "-batch", "-newkey", "ec", "-pkeyopt"];
        let of = ["ec_paramgen_curve:prime256v1", "-nodes", "-keyout", &key];
        self.openssl(&[&request[..], &of, &["-subj", &subject], arguments].concat());
    }

    /// Signs a certificate for `names` that is valid between these years.
    fn sign(&self, name: &str, names: &str, years: (u32, u32)) {
        let [csr, pem, ext] = ["csr", "pem", "ext"].map(|kind| format!("{name}.{kind}"));
        self.request(name, &["-out", &csr]);
        let text = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n");
        fs::write(self.0.join(&ext), text).expect("write");
        let [from, to] = [years.0, years.1].map(|year| format!("{year}0101000000Z"));
        let by = ["-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
        let what = ["-in", &csr, "-extfile", &ext, "-out", &pem];
        let when = ["-startdate", &from, "-enddate", &to];
        self.openssl(&[&["ca", "-batch"], &by[..], &what, &when].concat());
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// A server that shows a certificate; it ends with this value.
struct Server(Child, String);

impl Server {
    fn start(authority: &Path, name: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let [certificate, key] = ["pem", "key"].map(|kind| format!("{name}.{kind}"));
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &address])
            .args(["-cert", &certificate, "-key", &key])
            .current_dir(authority)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start openssl");
        let server = Self(child, address);
        eventually("the server listens", || {
            std::net::TcpStream::connect(&server.1).is_ok()
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address of a server that answers whatever it is asked, and not by TLS; it ends with the tests.
fn without_tls() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_with_the_reason() {
    if missing_program(&["openssl"]).is_some() {
        return skip("a_certificate_that_is_not_trusted", "openssl is missing");
    }
    let env = Env::new(User::ordinary());
    let authority = Authority::new(&env);
    let here = "DNS:registry.test";
    authority.sign("expired", here, (2020, 2021));
    authority.sign("early", here, (2090, 2091));
    authority.sign("other", "DNS:other.test,DNS:third.test", (2020, 2090));
    authority.sign("good", here, (2020, 2090));
    let bundle = authority.path("ca.pem");
    for (name, parts) in [
        (
            "expired",
            &["expired at 2021-01-01T00:00:00Z", "the clock here says 20"][..],
        ),
        (
            "early",
            &[
                "not valid before 2090-01-01T00:00:00Z",
                "the clock here says",
            ],
        ),
        (
            "other",
            &["it is for other.test, third.test, not for registry.test"],
        ),
        ("ca", &["it is that of an authority, not of a server"]),
    ] {
        let server = Server::start(&authority.0, name);
        let proxy = Proxy::start(&server.1).url();
        let variables = [("SSL_CERT_FILE", bundle.as_str()), ("HTTPS_PROXY", &proxy)];
        let run = fetch(&env, NAME, &variables)
            .fails(&["the certificate of registry.test is not trusted: "])
            .fails(parts);
        assert!(!run.stderr.contains("cannot reach"), "{}", run.report());
    }
    let server = Server::start(&authority.0, "good");
    let proxy = Proxy::start(&server.1).url();
    let other = env.write(
        "other.pem",
        fs::read(authority.path("expired.pem")).unwrap(),
    );
    let other = other.to_str().unwrap();
    fetch(
        &env,
        NAME,
        &[("SSL_CERT_FILE", other), ("HTTPS_PROXY", &proxy)],
    )
    .fails(&[
        "signed by no authority that is known here",
        "certs.d/registry.test/ca.crt",
        "SSL_CERT_FILE",
    ]);
    // It says what is no manifest: the certificate was good.
    fetch(
        &env,
        NAME,
        &[("SSL_CERT_FILE", &bundle), ("HTTPS_PROXY", &proxy)],
    )
    .fails(&["cannot parse manifest"]);
}

#[test]
fn a_registry_that_does_not_speak_tls_is_told_so() {
    let env = Env::new(User::ordinary());
    let proxy = Proxy::start(&without_tls()).url();
    fetch(&env, NAME, &[("HTTPS_PROXY", &proxy)]).fails(&[
        "registry.test does not speak TLS",
        "insecure = true in registries.conf",
    ]);
}

#[test]
fn a_proxy_that_is_dead_is_told_with_its_variable() {
    let env = Env::new(User::ordinary());
    let proxy = "http://someone:sesame@127.0.0.1:1";
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let named = format!("through proxy http://127.0.0.1:1/, which {variable} names: ");
        let run = fetch(&env, NAME, &[(variable, proxy)]);
        let run = run.fails(&["cannot reach registry.test", &named, "Connection refused"]);
        assert!(!run.stderr.contains("sesame"), "{}", run.report());
    }
    let both = [("ALL_PROXY", "http://127.0.0.1:2"), ("HTTPS_PROXY", proxy)];
    fetch(&env, NAME, &both).fails(&["127.0.0.1:1/, which HTTPS_PROXY names"]);
    // It would be gone past in silence.
    for wrong in ["nonsense://127.0.0.1:1", ":::", "http://"] {
        let variables = [("HTTPS_PROXY", wrong), ("ALL_PROXY", proxy)];
        fetch(&env, NAME, &variables).fails(&["HTTPS_PROXY is no URL of a proxy"]);
        fetch(&env, NAME, &[("all_proxy", wrong)]).fails(&["all_proxy is no URL of a proxy"]);
    }
    let variables = [("HTTPS_PROXY", ""), ("ALL_PROXY", proxy)];
    fetch(&env, NAME, &variables).fails(&["127.0.0.1:1/, which ALL_PROXY names"]);
    // Not on the way there.
    for variables in [
        &[("HTTP_PROXY", proxy)][..],
        &[("HTTPS_PROXY", proxy), ("NO_PROXY", ".test")],
        &[("HTTP_PROXY", ":::")],
        &[("HTTPS_PROXY", ":::"), ("NO_PROXY", ".test")],
    ] {
        let run = fetch(&env, NAME, variables).fails(&["cannot reach registry.test: "]);
        assert!(!run.stderr.contains("proxy"), "{}", run.report());
    }
}

#[test]
fn a_file_of_authorities_that_has_none_is_named() {
    let env = Env::new(User::ordinary());
    let file = env.write("text", "no certificate\n");
    let file = file.to_str().unwrap();
    for (path, why) in [
        (file, "there is no PEM certificate in it"),
        ("/nowhere/file", "No such file"),
    ] {
        fetch(&env, NAME, &[("SSL_CERT_FILE", path)])
            .fails(&["certificate of registry.test", "SSL_CERT_FILE", path, why])
            .complains("hint: where it is not set");
    }
    let run = fetch(&env, NAME, &[("SSL_CERT_FILE", "")]);
    let run = run.fails(&["registry.test"]);
    assert!(
        !run.stderr.contains("SSL_CERT_FILE names"),
        "{}",
        run.report()
    );
}

/// A fetch with this auth file and helper `docker-credential-test`.
fn log_in(env: &Env, name: &str, file: &serde_json::Value, helper: &str) -> Run {
    let program = env.write("docker-credential-test", format!("#!/bin/sh\n{helper}\n"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let file = env.write("auth.json", file.to_string());
    let directory = program.parent().unwrap().to_str().unwrap();
    let path = format!("{directory}:/usr/bin:/bin");
    let variables = [
        ("REGISTRY_AUTH_FILE", file.to_str().unwrap()),
        ("PATH", &path),
    ];
    fetch(env, name, &[&variables[..], &[]].concat())
}

#[test]
fn a_password_that_is_refused_is_told_with_its_user_and_where_it_was_found() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let host = registry.host();
    let env = Env::new(User::ordinary());
    let auth_file = env.scratch("auth.json").display().to_string();
    let by_file = json!({"auths": {host.clone(): {"auth": STANDARD.encode("somebody:hunter2")}}});
    let by_helper = json!({"credHelpers": {host.clone(): "test"}});
    let helper = r#"echo '{"Username":"ann","Secret":"hunter2"}'"#;
    let token = json!({"auths": {host.clone(): {"auth": "", "identitytoken": "hunter2"}}});
    let login = Some(("u".to_owned(), "p".to_owned()));
    for auth in [
        Auth::Basic {
            user: "u".to_owned(),
            password: "p".to_owned(),
        },
        Auth::Token {
            login,
            realm: None,
            uses: 100,
        },
    ] {
        registry.require(auth.clone());
        for (file, who, origin) in [
            (&by_file, "user 'somebody'", auth_file.as_str()),
            (&by_helper, "user 'ann'", "docker-credential-test"),
            (&token, "the identity token", &auth_file),
        ] {
            if matches!(auth, Auth::Basic { .. }) && *file == token {
                continue;
            }
            let parts = [
                &host,
                "refuses access to ",
                who,
                origin,
                "log in anew with skopeo",
            ];
            let run = log_in(&env, &name, file, helper).fails(&parts);
            assert!(!run.stderr.contains("hunter2"), "{}", run.report());
        }
    }
    // Nobody's: a token server may refuse those too.
    log_in(&env, &name, &json!({}), "")
        .fails(&["refuses access without credentials", "log in with skopeo"]);
}

#[test]
fn what_a_helper_complains_of_is_told() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let env = Env::new(User::ordinary());
    let file = json!({"credHelpers": {registry.host(): "test"}});
    for (helper, parts) in [
        (
            r"printf 'the agent\033[2J is locked\n' >&2; exit 3",
            &["exit status: 3): the agent\\u{1b}[2J is locked"][..],
        ),
        (
            "echo answer; echo complaint >&2; exit 1",
            &["exit status: 1): answer: complaint"],
        ),
        (
            "yes noise | head -c 1000000 >&2; echo the reason >&2; exit 1",
            &["the reason"],
        ),
        // What it leaves behind holds its standard error open.
        (
            "echo the reason >&2; sleep 30 >/dev/null <&1 & exit 1",
            &["the reason"],
        ),
    ] {
        let run = log_in(&env, &name, &file, helper);
        let run = run.fails(&["cannot get credentials", "docker-credential-test"]);
        let run = run.fails(parts);
        assert!(run.stderr.len() < 1000, "{}", run.report());
        assert!(run.elapsed.as_secs() < 20, "{}", run.report());
    }
}

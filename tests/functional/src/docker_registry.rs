//! Debian's `docker-registry` on the loopback interface, with TLS by a certificate authority of its own and a password.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;

use crate::{Built, Cosign, Env, Key, Run, eventually};

/// The user that the registry knows.
const USER: &str = "someone";
/// The password.
const PASSWORD: &str = "open sesame";

/// A running `docker-registry`; it ends when this is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    directory: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl DockerRegistry {
    /// What must be installed for it.
    pub const PROGRAMS: [&'static str; 4] = ["docker-registry", "skopeo", "htpasswd", "openssl"];

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&serde_json::json!({}))
    }

    /// Starts one that also wants a client certificate of its authority, see [`Self::client`].
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_client_certificates() -> Self {
        Self::start_with(&serde_json::json!({"clientcas": ["ca.pem"]}))
    }

    fn start_with(tls: &serde_json::Value) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("skua-test-registry-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .expect("a directory in /var/tmp");
        let port = free_port();
        let path = |name: &str| directory.path().join(name).display().to_string();
        certificates(&path);
        tool("htpasswd", &["-Bbc", &path("htpasswd"), USER, PASSWORD]);
        let mut tls = tls.clone();
        tls["certificate"] = path("server.pem").into();
        tls["key"] = path("server.key").into();
        let config = serde_json::json!({
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": path("data")}},
            "auth": {"htpasswd": {"realm": "test", "path": path("htpasswd")}},
            "http": {
                "addr": format!("127.0.0.1:{port}"),
                "tls": tls,
            },
        });
        fs::write(path("config.yml"), config.to_string()).expect("write the configuration");
        let log = fs::File::create(path("log")).expect("a log file");
        let child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("dup"))
            .stderr(log)
            .spawn()
            .expect("start docker-registry");
        let registry = Self {
            directory,
            child,
            port,
        };
        eventually("docker-registry listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        registry
    }

    /// `127.0.0.1:PORT/PATH`.
    #[must_use]
    pub fn name(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }

    /// The certificate authority, in PEM: what `SSL_CERT_FILE` must name.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A client certificate of its authority and the key, in PEM.
    #[must_use]
    pub fn client(&self) -> (PathBuf, PathBuf) {
        let at = |name: &str| self.directory.path().join(name);
        (at("client.pem"), at("client.key"))
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `skopeo` needs to push into it.
    #[must_use]
    pub fn skopeo_options(&self) -> [String; 2] {
        let certificates = self.directory.path().join("certs");
        [
            format!("--dest-creds={USER}:{PASSWORD}"),
            format!("--dest-cert-dir={}", certificates.display()),
        ]
    }

    /// An `auth.json` with the password for `key`, a registry or a namespace.
    #[must_use]
    pub fn auth_file(&self, key: &str) -> String {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        serde_json::json!({"auths": {key: {"auth": auth}}}).to_string()
    }

    /// Writes the password into the containers' `auth.json` of `env`'s user.
    ///
    /// # Panics
    /// When that fails.
    pub fn log_in(&self, env: &Env) {
        let directory = env.home().join("run/containers");
        fs::create_dir_all(&directory).expect("make a directory");
        fs::write(directory.join("auth.json"), self.auth_file(&self.host()))
            .expect("write auth.json");
        env.give(&directory);
    }

    /// Pushes an image and a signature of it with skopeo; the image's full name.
    ///
    /// # Panics
    /// When that fails.
    pub fn push_signed(&self, repository: &str, tag: &str, image: &Built, key: &Key) -> String {
        let layout = self.directory.path().join(image.digest().replace(':', "-"));
        image.write_layout(&layout, "image");
        let identity = self.name(repository);
        let signatures = Cosign::new().sign(key, &identity, image.digest());
        image.write_layout_signatures(&layout, &signatures);
        let signature_tag = Cosign::tag(image.digest());
        let name = format!("{identity}:{tag}");
        self.copy(&layout, "image", &name);
        self.copy(
            &layout,
            &signature_tag,
            &format!("{identity}:{signature_tag}"),
        );
        name
    }

    fn copy(&self, layout: &std::path::Path, tag: &str, name: &str) {
        let mut command = Command::new("skopeo");
        command
            .args(["copy", "--quiet", "--preserve-digests"])
            .args(self.skopeo_options())
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{name}"))
            .env("SSL_CERT_FILE", self.authority());
        Run::of(command).success();
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate authority, a server certificate of it for 127.0.0.1 and registry.test, and a client certificate of it; the
/// last also in directory `certs`, as skopeo wants it.
fn certificates(path: &dyn Fn(&str) -> String) {
    let new_key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    let request = |arguments: &[&str]| {
        tool(
            "openssl",
            &[&["req", "-batch"], &new_key[..], arguments].concat(),
        );
    };
    let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
    let subject = ["-subj", "/CN=test authority"];
    request(
        &[
            &["-x509", "-days", "2", "-keyout", &ca_key, "-out", &ca],
            &subject[..],
        ]
        .concat(),
    );
    for (name, extensions) in [
        (
            "server",
            "subjectAltName=IP:127.0.0.1,DNS:registry.test\nextendedKeyUsage=serverAuth\n",
        ),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ] {
        let [key, csr, signed, file] =
            ["key", "csr", "pem", "extensions"].map(|kind| path(&format!("{name}.{kind}")));
        request(&[
            "-keyout",
            &key,
            "-out",
            &csr,
            "-subj",
            &format!("/CN={name}"),
        ]);
        fs::write(&file, extensions).expect("write");
        let by = ["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        let arguments = ["x509", "-req", "-days", "2", "-in", &csr, "-extfile", &file];
        tool(
            "openssl",
            &[&arguments[..], &by, &["-out", &signed]].concat(),
        );
    }
    fs::create_dir(path("certs")).expect("make a directory");
    for (from, to) in [("client.pem", "client.cert"), ("client.key", "client.key")] {
        fs::copy(path(from), format!("{}/{to}", path("certs"))).expect("copy");
    }
}

fn tool(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments);
    Run::of(command).success();
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

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
        let directory = tempfile::Builder::new()
            .prefix("skua-test-registry-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .expect("a directory in /var/tmp");
        let port = free_port();
        let path = |name: &str| directory.path().join(name).display().to_string();
        certificates(&path);
        tool("htpasswd", &["-Bbc", &path("htpasswd"), USER, PASSWORD]);
        let config = serde_json::json!({
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": path("data")}},
            "auth": {"htpasswd": {"realm": "test", "path": path("htpasswd")}},
            "http": {
                "addr": format!("127.0.0.1:{port}"),
                "tls": {"certificate": path("server.pem"), "key": path("server.key")},
            },
        });
        fs::write(path("config.yml"), config.to_string()).expect("write the configuration");
        let log = fs::File::create(path("log")).expect("a log file");
        let child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
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

    /// Writes the password into the containers' `auth.json` of `env`'s user.
    ///
    /// # Panics
    /// When that fails.
    pub fn log_in(&self, env: &Env) {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let host = self.name("");
        let host = host.trim_end_matches('/');
        let document = serde_json::json!({"auths": {host: {"auth": auth}}});
        let directory = env.home().join("run/containers");
        fs::create_dir_all(&directory).expect("make a directory");
        fs::write(directory.join("auth.json"), document.to_string()).expect("write auth.json");
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
            .arg(format!("--dest-creds={USER}:{PASSWORD}"))
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

/// A certificate authority and a server certificate of it for 127.0.0.1.
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
    let (key, csr, extensions) = (path("server.key"), path("server.csr"), path("extensions"));
    request(&["-keyout", &key, "-out", &csr, "-subj", "/CN=127.0.0.1"]);
    fs::write(&extensions, "subjectAltName=IP:127.0.0.1\n").expect("write");
    let (signed, by) = (
        path("server.pem"),
        ["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"],
    );
    let arguments = [
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &csr,
        "-extfile",
        &extensions,
    ];
    tool(
        "openssl",
        &[&arguments[..], &by, &["-out", &signed]].concat(),
    );
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

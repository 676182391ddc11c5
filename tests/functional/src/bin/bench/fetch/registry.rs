//! Debian's `docker-registry`, without TLS and password: those cost every contender the same.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use functional::{Built, eventually};
use serde_json::json;

use crate::lab::{Failure, Lab, succeed};

/// A running registry with its data in the lab; it ends when this is dropped.
pub(super) struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    pub(super) fn start(lab: &Lab) -> Result<Self, Failure> {
        let directory = lab.make("registry")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        let config = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": directory.join("data")}},
            "http": {"addr": host},
        });
        let file = directory.join("config.yml");
        fs::write(&file, config.to_string())?;
        let log = File::create(directory.join("log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|e| format!("docker-registry: {e}"))?;
        let registry = Self { child, host };
        eventually("docker-registry listens", || {
            TcpStream::connect(&registry.host).is_ok()
        });
        Ok(registry)
    }

    /// Pushes `image`; its full name.
    pub(super) fn push(&self, lab: &Lab, name: &str, image: &Built) -> Result<String, Failure> {
        let layout = lab.make("layout")?;
        image.write_layout(&layout, "image");
        let reference = format!("{}/{name}:1", self.host);
        succeed(
            Command::new("skopeo")
                .args([
                    "copy",
                    "--quiet",
                    "--preserve-digests",
                    "--dest-tls-verify=false",
                ])
                .arg(format!("oci:{}:image", layout.display()))
                .arg(format!("docker://{reference}")),
        )?;
        fs::remove_dir_all(&layout)?;
        Ok(reference)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

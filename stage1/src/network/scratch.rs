//! For tests: a pod directory, plugins that are shell scripts, and the manifest of a pod that joins networks of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use pod::{IdMapChoice, NetworkName, PodId};

use super::*;

pub(super) const POD: &str = "3f2a0b1c-0000-4000-8000-0123456789ab";

/// Gone with the test.
pub(super) struct Scratch {
    pub(super) root: PathBuf,
    pub(super) dir: PodDir,
}

impl Scratch {
    pub(super) fn new(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("skua-cni-{}-{test}", std::process::id()));
        fs::create_dir_all(root.join("pod")).unwrap();
        // Whatever the mask of who runs the tests is.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let dir = PodDir::new(root.join("pod"));
        Self { root, dir }
    }

    /// A plugin that logs each call and what it read, then does what `script` says.
    pub(super) fn plugin(&self, name: &str, script: &str) -> PathBuf {
        let root = self.root.display();
        let text = format!(
            "#!/bin/sh\ncat > {root}/{name}.$CNI_COMMAND.json\nargs=\"$CNI_IFNAME $CNI_NETNS $CNI_ARGS\"\n\
             echo {name} $CNI_COMMAND $args >> {root}/log\n{script}\n"
        );
        let path = self.root.join(name);
        // By another process: a descriptor of ours, still open in a fork of another test, would make the file "busy".
        let written = Command::new("/bin/sh")
            .args(["-c", "printf '%s' \"$1\" > \"$2\"", "sh", &text])
            .arg(&path)
            .status();
        assert!(written.unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    pub(super) fn conflist(&self, name: &str, text: &str) -> NetworkRequest {
        let path = self.root.join(format!("{name}.conflist"));
        fs::write(&path, text).unwrap();
        request(name, Some(path.to_str().unwrap().to_owned()))
    }

    pub(super) fn manifest(&self, networks: Vec<NetworkRequest>) -> PodManifest {
        manifest(networks, vec![self.root.to_str().unwrap().to_owned()])
    }

    pub(super) fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.root.join("log")).unwrap_or_default();
        let _ = fs::remove_file(self.root.join("log"));
        log.lines().map(|line| line.trim().to_owned()).collect()
    }

    pub(super) fn read(&self, call: &str) -> serde_json::Value {
        let text = fs::read(self.root.join(format!("{call}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    pub(super) fn records(&self) -> Vec<String> {
        let files = record_files(&self.dir).unwrap();
        let mut names: Vec<_> = files
            .iter()
            .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub(super) fn request(name: &str, conflist: Option<String>) -> NetworkRequest {
    NetworkRequest {
        name: NetworkName::parse(name).unwrap(),
        conflist,
        arguments: Vec::new(),
    }
}

pub(super) fn manifest(networks: Vec<NetworkRequest>, plugin_path: Vec<String>) -> PodManifest {
    PodManifest {
        version: CONTRACT_VERSION,
        id: PodId::parse(POD).unwrap(),
        name: None,
        created: "2026-11-24T00:00:00Z".to_owned(),
        hostname: "pod".to_owned(),
        id_map: IdMapChoice::Single { uid: 0, gid: 0 },
        network: pod::Network::Cni {
            networks,
            plugin_path,
        },
        ports: Vec::new(),
        volumes: Vec::new(),
        shm_size: 65_536,
        sysctls: Vec::new(),
        apps: Vec::new(),
        limits: pod::Limits::default(),
        stop_timeout: 10,
        remove: false,
        insecure_options: Vec::new(),
        origins: pod::Origins::default(),
    }
}

/// An error with all its causes, as `main` prints it.
pub(super) fn line(error: &NetworkError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

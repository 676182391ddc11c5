//! Who fetches: the pipeline that is the measure, skua, and its peers. Each gets an empty directory in the lab for each run.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use functional::{binaries, eventually};

use super::usage::{self, Usage, Watch};
use crate::lab::{Failure, Lab, succeed};

/// The least that must be done, all layers at once. Whiteouts are left out, for tar knows none.
const LIMIT: &str = r#"set -eu -o pipefail
accept='Accept: application/vnd.oci.image.manifest.v1+json'
manifest=$(curl -sSf -H "$accept" "http://$HOST/v2/$REPOSITORY/manifests/1")
blobs=$(grep -o 'sha256:[0-9a-f]*' <<<"$manifest" | tail -n +2)
layer() {
    mkdir "$1"
    mkfifo "$1.hashed"
    openssl dgst -sha256 <"$1.hashed" >"$1.digest" &
    curl -sSf "http://$HOST/v2/$REPOSITORY/blobs/$2" | tee "$1.hashed" | $DECODER |
        tar -xpf - -C "$1" --numeric-owner --exclude='.wh.*'
    wait $!
    grep -q "${2#sha256:}" "$1.digest"
}
jobs=
for blob in $blobs; do
    layer "${blob#sha256:}" "$blob" &
    jobs="$jobs $!"
done
for job in $jobs; do wait "$job"; done
$AT_LAST
"#;

type Make = Box<dyn Fn(&Path) -> Command>;

/// One who fetches, and how.
pub(super) struct Contender {
    pub(super) name: &'static str,
    make: Make,
    daemon: bool,
}

impl Contender {
    fn new(name: &'static str, make: impl Fn(&Path) -> Command + 'static) -> Self {
        Self {
            name,
            make: Box::new(make),
            daemon: false,
        }
    }

    /// One fetch into empty storage. What came before is on disk by then.
    pub(super) fn run(&self, lab: &Lab, watch: Watch) -> Result<Usage, Failure> {
        let directory = lab.make("fetched")?;
        let daemon = self.daemon.then(|| containerd(&directory)).transpose()?;
        succeed(Command::new("sync").arg("-f").arg(&directory))?;
        let usage = usage::measure(
            &mut (self.make)(&directory),
            daemon.as_ref().map(|daemon| daemon.0.id()),
            watch,
        );
        drop(daemon);
        // skopeo leaves a mount of the directory on itself.
        let left = directory.join("root/overlay");
        let _ = nix::mount::umount2(&left, nix::mount::MntFlags::MNT_DETACH);
        fs::remove_dir_all(&directory)?;
        usage
    }
}

/// All of them; the first is the measure.
pub(super) fn all(reference: &str, compression: &str) -> Vec<Contender> {
    let decoder = match compression {
        "zstd" => "zstd -dcq",
        _ => "igzip -dc",
    };
    let (host, rest) = reference.split_once('/').unwrap_or_default();
    let repository = rest.trim_end_matches(":1").to_owned();
    let pipeline = |at_last: &'static str| {
        let (host, repository) = (host.to_owned(), repository.clone());
        move |directory: &Path| {
            let mut command = Command::new("bash");
            command.arg("-c").arg(LIMIT).current_dir(directory);
            command
                .env("HOST", &host)
                .env("REPOSITORY", &repository)
                .env("DECODER", decoder)
                .env("AT_LAST", at_last);
            command
        }
    };
    let with = |make: fn(&Path, &str) -> Command| {
        let reference = reference.to_owned();
        move |directory: &Path| make(directory, &reference)
    };
    vec![
        Contender::new("curl | sha256 | decoder | tar", pipeline("")),
        Contender::new("the same, then sync -f", pipeline("sync -f .")),
        Contender::new("skua fetch", with(skua)),
        Contender::new("skopeo copy to containers-storage", with(skopeo)),
        Contender::new("podman pull", with(podman)),
        Contender {
            daemon: true,
            ..Contender::new("ctr images pull, with containerd", with(ctr))
        },
    ]
}

/// No signature is asked for, since no peer checks one.
fn skua(directory: &Path, reference: &str) -> Command {
    let mut command = Command::new(binaries().join("skua"));
    command
        .arg("--data-dir")
        .arg(directory.join("data"))
        .arg("--config-dir")
        .arg(directory)
        .args(["--quiet", "--insecure-options=image", "fetch", reference]);
    command
}

fn skopeo(directory: &Path, reference: &str) -> Command {
    let mut command = Command::new("skopeo");
    command
        .args(["copy", "--quiet", "--src-tls-verify=false"])
        .arg(format!("docker://{reference}"))
        .arg(format!(
            "containers-storage:[overlay@{0}/root+{0}/run]{reference}",
            directory.display()
        ))
        .env("HOME", directory);
    command
}

fn podman(directory: &Path, reference: &str) -> Command {
    let mut command = Command::new("podman");
    command
        .arg("--root")
        .arg(directory.join("root"))
        .arg("--runroot")
        .arg(directory.join("run"))
        .arg("--tmpdir")
        .arg(directory.join("tmp"))
        .args(["--storage-driver=overlay", "--cgroup-manager=cgroupfs"])
        .args(["--events-backend=none", "pull", "--quiet"])
        .args(["--tls-verify=false", reference])
        .env("HOME", directory);
    command
}

fn ctr(directory: &Path, reference: &str) -> Command {
    let mut command = Command::new("ctr");
    command
        .arg("--address")
        .arg(directory.join("socket"))
        .args(["images", "pull", "--plain-http", "--snapshotter=overlayfs"])
        .arg(reference);
    command
}

/// A containerd of our own; it ends when this is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn containerd(directory: &Path) -> Result<Daemon, Failure> {
    let config = directory.join("config.toml");
    let path = |name: &str| directory.join(name).display().to_string();
    let text = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
        path("root"),
        path("state"),
        path("socket"),
        path("opt")
    );
    fs::write(&config, text)?;
    let child = Command::new("containerd")
        .arg("--config")
        .arg(&config)
        .args(["--log-level", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("containerd: {e}"))?;
    let daemon = Daemon(child);
    eventually("containerd answers", || {
        Command::new("ctr")
            .arg("--address")
            .arg(directory.join("socket"))
            .args(["--connect-timeout", "1s", "version"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    Ok(daemon)
}

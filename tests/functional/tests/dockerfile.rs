//! `Dockerfile.build` makes binaries that work: built with buildah on a Debian base, without a network, then the demo runs
//! with what came out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use functional::{User, skip};

const TEST: &str = "privileged_the_container_build_makes_binaries_that_run_the_demo";

#[test]
fn privileged_the_container_build_makes_binaries_that_run_the_demo() {
    if User::root(TEST).is_none() {
        return;
    }
    for program in ["buildah", "mmdebstrap"] {
        if Command::new(program).arg("--version").output().is_err() {
            return skip(TEST, &format!("{program} is not installed"));
        }
    }
    let scratch = tempfile::Builder::new()
        .prefix("skua-dockerfile-")
        .tempdir_in("/var/tmp")
        .expect("a directory");
    let buildah = Buildah {
        storage: scratch.path().join("storage"),
    };
    buildah.make_base(&debian_base());
    buildah.build();
    let installed = buildah.export(scratch.path());

    let demo = Path::new(env!("CARGO_BIN_EXE_demo"));
    let run = Command::new(demo)
        .env("SKUA_TEST_BINARIES", installed.join("usr/bin"))
        .output()
        .expect("the demo starts");
    assert!(
        run.status.success(),
        "the demo with the container's binaries: {run:?}"
    );
}

/// buildah with a storage of its own.
struct Buildah {
    storage: PathBuf,
}

impl Buildah {
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(self.storage.join("root"))
            .arg("--runroot")
            .arg(self.storage.join("run"));
        command.args(["--storage-driver", "vfs", verb]);
        command
    }

    /// An image `localhost/base` from a root file system archive.
    fn make_base(&self, archive: &Path) {
        let container = succeed(self.command("from").arg("scratch"));
        succeed(self.command("add").arg(&container).arg(archive).arg("/"));
        succeed(
            self.command("commit")
                .arg("--rm")
                .arg(&container)
                .arg("localhost/base"),
        );
    }

    fn build(&self) {
        let toolchain = succeed(Command::new("rustc").args(["--print", "sysroot"]));
        let cargo_home = std::env::var("CARGO_HOME")
            .unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").expect("HOME is set")));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut build = self.command("build");
        build
            .args(["--isolation", "chroot", "--file"])
            .arg(repository.join("Dockerfile.build"));
        for (name, value) in [
            ("BASE", "localhost/base"),
            ("TOOLCHAIN", "/toolchain"),
            ("CARGO_FLAGS", "--offline"),
        ] {
            build.arg("--build-arg").arg(format!("{name}={value}"));
        }
        build
            .arg("--volume")
            .arg(format!("{toolchain}:/toolchain:ro"));
        build
            .arg("--volume")
            .arg(format!("{cargo_home}/registry:/usr/local/cargo/registry"));
        succeed(build.args(["--tag", "localhost/skua"]).arg(&repository));
    }

    /// The files of the built image.
    fn export(&self, scratch: &Path) -> PathBuf {
        let container = succeed(self.command("from").arg("localhost/skua"));
        let root = succeed(self.command("mount").arg(&container));
        let copy = scratch.join("installed");
        succeed(Command::new("cp").arg("-a").arg(root).arg(&copy));
        succeed(self.command("umount").arg(&container));
        // The demo also runs as an ordinary user.
        succeed(Command::new("chmod").args([
            OsStr::new("0755"),
            scratch.as_os_str(),
            copy.as_os_str(),
        ]));
        copy
    }
}

/// A minimal Debian with a C compiler, made once per machine.
fn debian_base() -> PathBuf {
    let cache = Path::new("/var/tmp/skua-test-cache");
    let archive = cache.join("debian-12-gcc.tar");
    if !archive.exists() {
        std::fs::create_dir_all(cache).expect("make the cache");
        let unfinished = archive.with_extension("unfinished.tar");
        let mut make = Command::new("mmdebstrap");
        make.args([
            "--variant=minbase",
            "--include=gcc,libc6-dev,make",
            "bookworm",
        ]);
        succeed(make.arg(&unfinished));
        std::fs::rename(&unfinished, &archive).expect("rename");
    }
    archive
}

/// Runs a command that must succeed; its standard output without the line end.
fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

//! skua as a contender: the image is fetched and its signature verified once; each run then evaluates trust again, offline.

use std::path::{Path, PathBuf};
use std::process::Command;

use functional::{Image, Key, Layer, Registry, binaries};

use crate::lab::{Failure, Lab, succeed};
use crate::measure::Contender;
use crate::peers::Caller;

/// skua with a store of its own that holds one signed image.
#[derive(Clone)]
pub(crate) struct Skua {
    programs: PathBuf,
    caller: Caller,
    pub(crate) data: PathBuf,
    config: PathBuf,
    image: String,
}

/// Copies skua's programs into the lab, as an installation does. The pages of a file that was written from its beginning to
/// its end are mapped with less work than those of a file that a linker has just made, and nobody runs the latter.
pub(crate) fn install(lab: &Lab) -> Result<PathBuf, Failure> {
    let directory = lab.make("programs")?;
    for program in ["skua", "skua-worker", "skua-stage1", "skua-stage2"] {
        std::fs::copy(binaries().join(program), directory.join(program))?;
    }
    Ok(directory)
}

impl Skua {
    /// Fetches an image whose files are those of `root`, in two layers.
    pub(crate) fn new(
        root: &Path,
        programs: &Path,
        caller: &Caller,
        argv: &[&str],
    ) -> Result<Self, Failure> {
        let (data, config) = (caller.home.join("skua"), caller.home.join("config"));
        let mut skua = Self {
            programs: programs.to_owned(),
            caller: caller.clone(),
            data,
            config,
            image: String::new(),
        };
        let registry = Registry::start();
        let key = Key::new(1);
        let mut files = Layer::new();
        for directory in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
            files = files.directory(directory);
        }
        let files = files.file(
            "bin/busybox",
            0o755,
            std::fs::read(root.join("bin/busybox"))?,
        );
        let links = Layer::new()
            .symlink("bin/true", "busybox")
            .symlink("bin/sleep", "busybox");
        let image = Image::new()
            .layer(files)
            .layer(links)
            .entrypoint(argv)
            .build();
        skua.image = registry.push_signed("bench/tiny", "1", &image, &key);
        let pem = caller.home.join("key.pem");
        std::fs::write(&pem, key.public_pem())?;
        succeed(
            skua.command()
                .args(["trust", "add", "--prefix"])
                .arg(registry.name("bench"))
                .arg(&pem),
        )?;
        succeed(skua.command().arg("fetch").arg(&skua.image))?;
        Ok(skua)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = self.caller.command(self.programs.join("skua"));
        command
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--config-dir")
            .arg(&self.config);
        command
    }

    /// `skua run` of the image, its record kept, as by default.
    pub(crate) fn run(&self) -> Contender {
        self.contender("skua run --net=none", &[], &[])
    }

    /// The same with everything given up that confines an app inside its namespaces.
    pub(crate) fn unconfined(&self) -> Contender {
        let given_up = "--insecure-options=seccomp,capabilities,paths,landlock";
        let flags = ["--seccomp=unconfined", "--no-new-privileges=false"];
        self.contender("skua without confinement", &[given_up], &flags)
    }

    fn contender(&self, what: &str, global: &[&'static str], app: &[&'static str]) -> Contender {
        let whose = if self.caller.uid == 0 { "root" } else { "user" };
        let (skua, global, app) = (self.clone(), global.to_owned(), app.to_owned());
        Contender::new(&format!("{what} ({whose})"), move |_| {
            let mut command = skua.command();
            command
                .args(&global)
                .args(["run", "--net=none", "--pull=never"])
                .arg(&skua.image)
                .args(&app);
            command
        })
    }

    /// The command of a pod that sleeps.
    pub(crate) fn sleeping(&self) -> Command {
        let mut command = self.command();
        command
            .args(["run", "--net=none", "--pull=never"])
            .arg(&self.image);
        command.args(["--exec", "/bin/sleep", "--", "60"]);
        command
    }
}

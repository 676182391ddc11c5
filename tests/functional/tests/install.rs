//! `make install`: what was built is put where it belongs, by a root who has no compiler.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use functional::{PROGRAMS, Run, binaries, missing_program, skip};
use tempfile::TempDir;

/// A tree like the repository's, in which `programs` have been built.
struct Tree(TempDir);

impl Tree {
    /// `None`: not here.
    fn new(test: &str, programs: &[&str]) -> Option<Self> {
        if let Some(program) = missing_program(&["make"]) {
            skip(test, &format!("{program} is not installed"));
            return None;
        }
        let tree = Self(tempfile::tempdir().unwrap());
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let repository = repository.canonicalize().unwrap();
        for part in ["Makefile", "dist"] {
            symlink(repository.join(part), tree.at(part)).unwrap();
        }
        let built = tree.at(&format!("target/{}/release", host()));
        fs::create_dir_all(&built).unwrap();
        for program in programs {
            symlink(binaries().join(program), built.join(program)).unwrap();
        }
        Some(tree)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Without cargo, and with no more of the environment than root has from sudo.
    fn install(&self, prefix: &str) -> Run {
        let mut make = Command::new("make");
        make.args(["install", "CARGO=/nonexistent/cargo"])
            .arg(format!("PREFIX={prefix}"))
            .arg(format!("DESTDIR={}", self.at("root").display()))
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Run::of(make)
    }
}

/// What the compiler calls this machine, and so the directory of what it builds.
fn host() -> String {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "host-tuple"]);
    Run::of(rustc).success().stdout.trim().to_owned()
}

#[test]
fn what_was_built_is_installed_without_a_compiler_and_units_name_it_there() {
    let test = "what_was_built_is_installed_without_a_compiler_and_units_name_it_there";
    for prefix in ["/usr", "/usr/local", "/opt/a&b|c"] {
        let Some(tree) = Tree::new(test, &PROGRAMS) else {
            return;
        };
        tree.install(prefix).success();
        let installed = tree.at("root").join(&prefix[1..]);
        let skua = installed.join("bin/skua");
        for program in PROGRAMS {
            let path = match program {
                "skua" => skua.clone(),
                other => installed.join("libexec/skua").join(other),
            };
            assert!(path.is_file(), "{}", path.display());
        }
        let mut version = Command::new(&skua);
        version.arg("version");
        Run::of(version).success();
        let mut found = 0;
        for unit in fs::read_dir(installed.join("share/doc/skua/systemd")).unwrap() {
            let text = fs::read_to_string(unit.unwrap().path()).unwrap();
            for line in text.lines().filter(|line| line.starts_with("ExecStart=")) {
                let start = format!("ExecStart={prefix}/bin/skua ");
                assert!(line.starts_with(&start), "{line}");
                found += 1;
            }
        }
        assert!(found >= 5, "{found} lines");
    }
}

#[test]
fn what_was_not_built_is_not_installed_in_part() {
    let test = "what_was_not_built_is_not_installed_in_part";
    for programs in [&[][..], &["skua", "skua-worker"]] {
        let Some(tree) = Tree::new(test, programs) else {
            return;
        };
        let run = tree.install("/usr");
        assert_ne!(run.code(), Some(0), "{}", run.report());
        run.complains("is not there: run 'make' first");
        assert!(!tree.at("root").exists());
    }
}

#[test]
fn a_prefix_that_units_could_not_name_is_refused() {
    let Some(tree) = Tree::new("a_prefix_that_units_could_not_name", &PROGRAMS) else {
        return;
    };
    let run = tree.install("usr");
    assert_ne!(run.code(), Some(0), "{}", run.report());
    run.complains("PREFIX=usr is not an absolute path");
}

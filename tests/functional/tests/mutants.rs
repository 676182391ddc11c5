//! The mutants of `tests/mutants`: each says what it takes out of the program and which tests must then fail, and still can be
//! taken out. That the tests do fail is seen by `make mutants`, which takes too long to be a test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use functional::{missing_program, skip};

/// The top of the tree.
fn tree() -> PathBuf {
    let functional = Path::new(env!("CARGO_MANIFEST_DIR"));
    functional.ancestors().nth(2).expect("a tree").to_owned()
}

/// The patches by their names.
fn mutants() -> BTreeMap<String, String> {
    let entries = fs::read_dir(tree().join("tests/mutants")).expect("mutants");
    let patches = entries.map(|entry| entry.expect("an entry").path());
    let patches = patches.filter(|path| path.extension().is_some_and(|e| e == "patch"));
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_str().expect("text");
        (name.to_owned(), fs::read_to_string(&path).expect("a patch"))
    };
    patches.map(read).collect()
}

/// File and name of each test that a patch must make fail.
fn kills(patch: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = patch
        .lines()
        .take_while(|line| !line.starts_with("diff "))
        .filter_map(|line| line.strip_prefix("Kills: "));
    lines.map(|line| line.split_once(' ').expect("FILE TEST"))
}

#[test]
fn each_mutant_says_what_it_takes_out_and_names_tests_that_are_there() {
    for (name, patch) in mutants() {
        assert!(patch.starts_with("Defence: "), "{name}");
        assert_ne!(kills(&patch).count(), 0, "{name} names no test");
        for (file, test) in kills(&patch) {
            let source = fs::read_to_string(tree().join(file));
            let source = source.unwrap_or_else(|e| panic!("{name}: {file}: {e}"));
            assert!(source.contains(&format!("fn {test}()")), "{name}: {test}");
        }
        // A mutant of a test would prove nothing.
        for changed in patch.lines().filter_map(|line| line.strip_prefix("+++ b/")) {
            let product = ["pod/src", "images/src", "stage", "dist/"];
            let product = product.iter().any(|start| changed.starts_with(start));
            let test = changed.contains("/tests") || changed.ends_with("_tests.rs");
            assert!(product && !test, "{name} changes {changed}");
        }
    }
}

#[test]
fn each_mutant_still_applies() {
    if let Some(program) = missing_program(&["git"]) {
        let why = format!("{program} is not installed");
        return skip("each_mutant_still_applies", &why);
    }
    for name in mutants().into_keys() {
        let mut git = Command::new("git");
        git.args(["apply", "--check"])
            .arg(format!("tests/mutants/{name}.patch"))
            .current_dir(tree())
            // A tree that was exported has no repository of its own, and should not find another one.
            .env(
                "GIT_CEILING_DIRECTORIES",
                tree().parent().expect("a directory"),
            );
        let run = functional::Run::of(git);
        assert!(
            run.status.success(),
            "{name} is to be made anew: {}",
            run.report()
        );
    }
}

//! What a fetch costs, in numbers that do not depend on the machine: system calls for each file.

use std::collections::BTreeMap;
use std::fs;

use functional::{Env, Image, Layer, Registry, Run, User, is_root, missing_program, skip};

const FILES: usize = 2000;

/// Calls that a fetch makes whatever is in the image.
const FIXED: usize = 1000;

/// A fetch of `FILES` files of `bytes` bytes under strace: how often each call was made, by all processes.
fn calls(bytes: usize) -> BTreeMap<String, usize> {
    let registry = Registry::start();
    let mut layer = Layer::new();
    for directory in 0..FILES / 100 {
        layer = layer.directory(&format!("{directory}"));
        for file in 0..100 {
            layer = layer.file(&format!("{directory}/{file}"), 0o644, vec![b'x'; bytes]);
        }
    }
    let image = registry.push("demo/files", "1", &Image::new().layer(layer).build());
    let env = Env::new(User::Caller);
    let counts = env.scratch("calls");
    let mut command = env.program("strace");
    command
        .args(["--follow-forks", "--summary-only", "--output"])
        .arg(&counts)
        .arg(functional::binaries().join("skua"))
        .arg("--data-dir")
        .arg(env.data())
        .arg("--config-dir")
        .arg(env.config())
        .args(["--insecure-options=image", "fetch", &image]);
    Run::of(command).success();
    let table = fs::read_to_string(counts).expect("strace's table");
    let rows = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let count = fields.get(3)?.parse().ok()?;
        Some(((*fields.last()?).to_owned(), count))
    });
    rows.filter(|(name, _)| name != "total").collect()
}

/// Whether strace can follow the workers: as an ordinary user it keeps the programs that write id maps from working.
fn can_trace(test: &str) -> bool {
    if !is_root() {
        skip(test, "strace follows all workers only as root");
        return false;
    }
    if let Some(program) = missing_program(&["strace"]) {
        skip(test, &format!("{program} is not installed"));
        return false;
    }
    true
}

#[test]
fn privileged_a_small_file_is_opened_written_dated_and_closed_and_nothing_more() {
    if !can_trace("small files") {
        return;
    }
    let calls = calls(3000);
    let count = |name: &str| calls.get(name).copied().unwrap_or(0);
    assert!(count("pwrite64") >= FILES, "{calls:?}");
    for name in ["openat", "pwrite64", "utimensat", "close"] {
        assert!(count(name) <= FILES + FIXED, "{name}: {calls:?}");
    }
    // What else there is belongs to the transfer, which does not know of files.
    for name in [
        "fstat",
        "statx",
        "newfstatat",
        "fchmod",
        "fchown",
        "openat2",
        "fsync",
        "fadvise64",
        "lseek",
    ] {
        assert!(count(name) <= FIXED / 4, "{name}: {calls:?}");
    }
}

#[test]
fn privileged_an_empty_file_is_not_written() {
    if !can_trace("empty files") {
        return;
    }
    let calls = calls(0);
    let writes = calls.get("pwrite64").copied().unwrap_or(0);
    assert!(writes <= FIXED / 4, "{calls:?}");
}

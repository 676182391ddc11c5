//! Tests that cannot run here say so, past the capture of test output; `.ci/run` counts the lines.

use std::io::Write;

/// Prints `skipped: <test>: <reason>`. The test then returns.
pub fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {reason}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The first of `programs` that is not installed.
#[must_use]
pub fn missing_program<'a>(programs: &[&'a str]) -> Option<&'a str> {
    const DIRECTORIES: [&str; 6] = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    programs.iter().copied().find(|program| {
        !DIRECTORIES
            .iter()
            .any(|d| std::path::Path::new(d).join(program).is_file())
    })
}

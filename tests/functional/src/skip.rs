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

/// Whether Landlock can keep a process from abstract sockets here: ABI 6, of Linux 6.12.
///
/// # Panics
/// When the kernel does not say what it is.
#[must_use]
pub fn scopes_abstract_sockets() -> bool {
    let kernel = nix::sys::utsname::uname().expect("uname");
    let release = kernel.release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(6u32), Some(12u32))
}

/// The option that lets an unsigned image run with these flags on any kernel: in the host's network it also gives up the scope
/// of abstract sockets where that cannot be had.
#[must_use]
pub fn lax(flags: &[&str]) -> &'static str {
    if flags.contains(&"--net=host") && !scopes_abstract_sockets() {
        "--insecure-options=image,landlock"
    } else {
        "--insecure-options=image"
    }
}

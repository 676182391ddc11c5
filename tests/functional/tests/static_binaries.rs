//! The programs depend on nothing of the host, and on little of anybody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use functional::{PROGRAMS, Run, binaries, skip};

/// Program header types that a static program does not have, or must have.
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;

#[test]
fn no_program_has_an_interpreter_or_an_executable_stack() {
    for program in PROGRAMS {
        let headers = program_headers(&binaries().join(program));
        assert!(
            headers.iter().all(|(kind, _)| *kind != PT_INTERP),
            "{program} is not static: program headers {headers:x?}"
        );
        let stack = headers.iter().find(|(kind, _)| *kind == PT_GNU_STACK);
        assert!(
            stack.is_some_and(|(_, flags)| flags & 1 == 0),
            "{program} has an executable stack: program headers {headers:x?}"
        );
    }
}

#[test]
fn no_program_is_setuid_or_has_file_capabilities() {
    use std::os::unix::fs::PermissionsExt;
    for program in PROGRAMS {
        let path = binaries().join(program);
        let mode = fs::metadata(&path).expect("a binary").permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{program} has mode {mode:o}");
    }
}

/// What parses HTTP, TLS and compressed bytes is in the worker only. A development build has whole crates in it.
#[test]
fn the_command_line_has_no_code_for_foreign_bytes() {
    let has = |program: &str, what: &str| {
        let bytes = fs::read(binaries().join(program)).expect("a binary");
        bytes.windows(what.len()).any(|w| w == what.as_bytes())
    };
    if std::env::var_os("SKUA_TEST_BINARIES").is_none() {
        let test = "the_command_line_has_no_code_for_foreign_bytes";
        skip(test, "only a release build is linked function by function");
        return;
    }
    for library in ["reqwest", "hyper", "rustls", "flate2"] {
        assert!(has("skua-worker", library), "{library} is in skua-worker");
        assert!(!has("skua", library), "{library} is in skua");
    }
}

#[test]
fn stage1_depends_directly_on_these_crates_only() {
    golden_dependencies("stage1");
}

#[test]
fn stage2_depends_directly_on_these_crates_only() {
    golden_dependencies("stage2");
}

/// The direct dependencies of `member` are those of `tests/golden/<member>.dependencies`, one per line.
fn golden_dependencies(member: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--edges", "normal,build"])
        .args(["--depth", "1", "--prefix", "none", "--format", "{p}"])
        .args(["--package", member])
        .current_dir(here);
    let run = Run::of(tree).success();
    let found: BTreeSet<&str> = run
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty() && !name.starts_with('['))
        .collect();
    let golden = here.join(format!("tests/golden/{member}.dependencies"));
    let golden = fs::read_to_string(&golden).expect("a golden file");
    let expected: BTreeSet<&str> = golden.lines().collect();
    assert_eq!(
        found, expected,
        "{member} has other dependencies than tests/golden/{member}.dependencies says: a new one needs a reason"
    );
}

/// Type and flags of each program header of a 64-bit little-endian ELF file.
fn program_headers(path: &Path) -> Vec<(u32, u32)> {
    let bytes = fs::read(path).expect("a binary");
    let number = |at: usize, size: usize| -> u64 {
        bytes[at..at + size]
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    assert_eq!(&bytes[..5], b"\x7fELF\x02", "{}", path.display());
    let start = usize::try_from(number(0x20, 8)).expect("an offset");
    let size = usize::try_from(number(0x36, 2)).expect("a size");
    let count = usize::try_from(number(0x38, 2)).expect("a count");
    (0..count)
        .map(|at| start + at * size)
        .map(|at| (number(at, 4) as u32, number(at + 4, 4) as u32))
        .collect()
}

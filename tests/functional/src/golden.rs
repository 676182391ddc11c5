//! Expectations about the kernel that are kept in files, one for all kernels: `[title]` lines, and below each `name: value` lines
//! sorted by name. `SKUA_GOLDEN=write` writes what is found; `SKUA_TEST_GOLDEN` names their directory where the sources are not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

fn path(name: &str) -> PathBuf {
    let directory = std::env::var_os("SKUA_TEST_GOLDEN");
    let directory = directory.map_or_else(|| DIRECTORY.into(), PathBuf::from);
    directory.join(name)
}

fn load(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

/// What was found is what file `name` says.
///
/// # Panics
/// When it is not, and `SKUA_GOLDEN=write` is not set.
#[track_caller]
pub fn is_as_in(name: &str, found: &str) {
    if std::env::var_os("SKUA_GOLDEN").is_some_and(|what| what == "write") {
        fs::write(path(name), merged(&load(name), found)).expect("write");
    }
    compare(found, &expected(&load(name), found));
}

/// The sections that were found are those that file `name` has under the same titles.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn sections_are_as_in(name: &str, found: &str) {
    let golden = load(name);
    let mut titled = false;
    let same = golden.lines().filter(|line| {
        if line.starts_with('[') {
            titled = found.lines().any(|title| title == *line);
        }
        titled
    });
    let same: String = same.map(|line| format!("{line}\n")).collect();
    compare(found, &expected(&same, found));
}

#[track_caller]
fn compare(found: &str, expected: &str) {
    let mut pairs = found.lines().zip(expected.lines());
    let differs = pairs.find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "the first difference, found and expected: {differs:?}\n--- found\n{found}\n\
         if it is meant, run the test with SKUA_GOLDEN=write"
    );
}

/// Whether a line is about a mount over a file that this kernel does not have, and that is not there.
fn is_of_another_kernel(line: &str, found: &str) -> bool {
    let Some(rest) = line.strip_prefix("mount /") else {
        return false;
    };
    let path = format!("/{}", rest.split(':').next().unwrap_or_default());
    let kernels = path.starts_with("/proc/") || path.starts_with("/sys/");
    kernels && !Path::new(&path).exists() && !found.contains(&format!("mount {path}:"))
}

/// What the golden file says, without mounts over files that this kernel does not have.
fn expected(golden: &str, found: &str) -> String {
    let here = golden
        .lines()
        .filter(|line| !is_of_another_kernel(line, found));
    here.map(|line| format!("{line}\n")).collect()
}

/// What was found, with what the golden file says of files that this kernel does not have.
fn merged(golden: &str, found: &str) -> String {
    fn add<'a>(line: &'a str, sections: &mut Vec<(&'a str, BTreeMap<&'a str, &'a str>)>) {
        if line.starts_with('[') {
            sections.push((line, BTreeMap::new()));
        } else if let Some((_, lines)) = sections.last_mut() {
            lines.insert(line.split(": ").next().unwrap_or(line), line);
        }
    }
    let (mut old, mut new) = (Vec::new(), Vec::new());
    golden.lines().for_each(|line| add(line, &mut old));
    found.lines().for_each(|line| add(line, &mut new));
    let mut text = String::new();
    for (title, mut lines) in new {
        let before = old.iter().filter(|(of, _)| *of == title);
        let kept = before.flat_map(|(_, lines)| lines);
        lines.extend(kept.filter(|(_, line)| is_of_another_kernel(line, found)));
        let _ = writeln!(text, "{title}");
        for line in lines.values() {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

//! What a command that does not end is waiting for, by the kernel's word: itself and its descendants.

use std::fmt::Write as _;
use std::fs;

/// One line about each of `pid` and its descendants, and as root where it is in the kernel.
#[must_use]
pub(crate) fn tree(pid: u32) -> String {
    let mut text = String::new();
    let mut left = vec![(pid.to_string(), 0)];
    while let Some((pid, depth)) = left.pop() {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let words = read("cmdline").replace('\0', " ");
        let stat = read("stat");
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.get(..1));
        let indent = "  ".repeat(depth);
        let _ = writeln!(
            text,
            "{indent}{pid} [{}] {} {words}",
            state.unwrap_or("gone"),
            read("wchan")
        );
        for line in read("stack").lines().take(6) {
            let _ = writeln!(text, "{indent}    {line}");
        }
        let children = read(&format!("task/{pid}/children"));
        let children = children.split_whitespace().rev();
        left.extend(children.map(|child| (child.to_owned(), depth + 1)));
    }
    text
}

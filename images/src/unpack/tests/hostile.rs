//! Layers that attack: refused with the entry's name, or harmless.

use super::*;

/// What becomes of a layer: an error with this text, or none.
pub(super) struct Case {
    name: &'static str,
    entries: Vec<Entry>,
    error: Option<&'static str>,
}

pub(super) fn refused(name: &'static str, entries: Vec<Entry>, error: &'static str) -> Case {
    Case {
        name,
        entries,
        error: Some(error),
    }
}

pub(super) fn harmless(name: &'static str, entries: Vec<Entry>) -> Case {
    Case {
        name,
        entries,
        error: None,
    }
}

pub(super) fn run(cases: Vec<Case>) {
    for case in cases {
        let ground = Ground::new();
        let result = ground.unpack(&case.entries);
        ground.is_untouched();
        match (result, case.error) {
            (Ok(_), None) => {}
            (Err(error), Some(text)) => {
                let shown = format!("{error}: {:?}", std::error::Error::source(&error));
                assert!(shown.contains(text), "{}: {shown}", case.name);
                assert!(
                    !shown.contains(['\n', '\u{1b}']),
                    "{}: {shown:?}",
                    case.name
                );
            }
            (Ok(_), Some(_)) => panic!("{}: accepted", case.name),
            (Err(error), None) => panic!("{}: {error}", case.name),
        }
    }
}

#[test]
fn names_do_not_leave_the_tree() {
    run(vec![
        refused(
            "dot dot",
            vec![file("../outside/new", "x")],
            "'../outside/new' of the layer: its path has a '..'",
        ),
        refused(
            "dot dot inside",
            vec![file("a/../../outside/new", "x")],
            "'..'",
        ),
        refused("dot dot last", vec![directory("a/..")], "'..'"),
        refused(
            "dot dot in pax",
            vec![pax(&[record("path", "../x")]), file("ok", "")],
            "'..'",
        ),
        harmless("absolute", vec![file("/outside/secret", "x")]),
        refused(
            "nul in pax",
            vec![pax(&[record("path", "a\0b")]), file("ok", "")],
            "NUL",
        ),
        refused(
            "empty in pax",
            vec![pax(&[record("path", "")]), file("ok", "")],
            "empty",
        ),
        refused("escape", vec![file("../\u{1b}[2J", "x")], "\\u{1b}[2J"),
        refused(
            "the root as a link",
            vec![symlink("./", "/")],
            "root is not a directory",
        ),
        refused(
            "the root as a file",
            vec![file(".", "x")],
            "root is not a directory",
        ),
        refused(
            "the root as a hard link",
            vec![hard_link("/", "a")],
            "root is not a directory",
        ),
        refused(
            "long component",
            vec![pax(&[record("path", "n".repeat(300))]), file("ok", "")],
            "name too long",
        ),
        refused(
            "long path",
            vec![pax(&[record("path", "n/".repeat(2100))]), file("ok", "")],
            "too long",
        ),
        refused(
            "deep path",
            vec![pax(&[record("path", "n/".repeat(300))]), file("ok", "")],
            "too many components",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn links_do_not_lead_out_of_the_tree() {
    let outside = "../outside";
    run(vec![
        refused(
            "write through a link",
            vec![symlink("l", outside), file("l/secret", "x")],
            "its parent is a file, or a link to nothing",
        ),
        harmless(
            "write over a link",
            vec![symlink("l", "../outside/secret"), file("l", "x")],
        ),
        harmless(
            "directory over a link",
            vec![
                symlink("l", outside),
                Entry {
                    mode: 0,
                    ..directory("l")
                },
            ],
        ),
        refused(
            "chain",
            vec![
                symlink("a", "b"),
                symlink("b", outside),
                file("a/secret", "x"),
            ],
            "its parent is",
        ),
        refused(
            "loop",
            vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "x")],
            "leads to itself",
        ),
        refused(
            "through a file",
            vec![file("a", "x"), file("a/b", "x")],
            "its parent is a file",
        ),
        refused(
            "hard link out",
            vec![hard_link("l", "../outside/secret")],
            "'..'",
        ),
        refused(
            "hard link out by a link",
            vec![symlink("o", outside), hard_link("l", "o/secret")],
            "not in this layer",
        ),
        refused(
            "hard link to nothing",
            vec![hard_link("l", "none")],
            "target 'none' is not in this layer",
        ),
        refused(
            "hard link to itself",
            vec![hard_link("l", "l")],
            "not another file",
        ),
        refused(
            "hard link to itself in disguise",
            vec![file("l", "x"), hard_link("l", ".//l")],
            "not another file",
        ),
        refused(
            "hard link to a directory",
            vec![directory("d"), hard_link("l", "d")],
            "is a directory",
        ),
        refused(
            "hard link to the root",
            vec![hard_link("l", "/")],
            "not another file",
        ),
        refused(
            "hard link to a whiteout",
            vec![file(".wh.w", ""), hard_link("l", "w")],
            "not in this layer",
        ),
        harmless(
            "hard link to a link, then a file",
            vec![
                symlink("s", "../outside/secret"),
                hard_link("l", "s"),
                Entry {
                    mode: 0o777,
                    ..file("l", "x")
                },
            ],
        ),
        refused("link without a target", vec![symlink("l", "")], "empty"),
        refused(
            "link with a NUL",
            vec![pax(&[record("linkpath", "a\0b")]), symlink("l", "x")],
            "NUL",
        ),
        refused(
            "proc",
            vec![symlink("l", "/proc/self/root"), file("l/x", "x")],
            "its parent is",
        ),
        harmless(
            "replaced parent",
            vec![
                directory("d"),
                file("d/x", "1"),
                symlink("d", outside),
                directory("d"),
                file("d/secret", "x"),
            ],
        ),
    ]);
}

#[test]
fn whiteouts_hide_names_and_nothing_else() {
    run(vec![
        refused("empty", vec![file(".wh.", "")], "hides no name"),
        refused("dot", vec![file(".wh..", "")], "hides no name"),
        refused("dot dot", vec![file("a/.wh...", "")], "hides no name"),
        harmless(
            "through a link",
            vec![symlink("l", "../outside"), file("l/.wh.secret", "")],
        ),
        harmless(
            "opaque through a link",
            vec![symlink("l", "/../outside"), file("l/.wh..wh..opq", "")],
        ),
        harmless(
            "in a directory that became a file",
            vec![
                file("f", "1"),
                file("f/.wh.a", ""),
                file("f/.wh..wh..opq", ""),
            ],
        ),
        harmless(
            "bookkeeping of aufs",
            vec![file(".wh..wh.plnk", ""), directory(".wh..wh.aufs")],
        ),
        harmless("device 0:0", vec![entry(b'3', "zero")]),
    ]);
}

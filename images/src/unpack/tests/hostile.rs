//! Layers that attack: refused with the entry's name, or harmless.

use super::*;

/// What becomes of a layer: an error with this text, or none.
struct Case {
    name: &'static str,
    entries: Vec<Entry>,
    error: Option<&'static str>,
}

fn refused(name: &'static str, entries: Vec<Entry>, error: &'static str) -> Case {
    Case {
        name,
        entries,
        error: Some(error),
    }
}

fn harmless(name: &'static str, entries: Vec<Entry>) -> Case {
    Case {
        name,
        entries,
        error: None,
    }
}

fn sized(kind: u8, name: &str, size: &[u8]) -> Entry {
    Entry {
        size: Some(size.to_vec()),
        ..entry(kind, name)
    }
}

fn of(owner: (u32, u32), name: &str) -> Entry {
    Entry {
        owner,
        ..file(name, "1")
    }
}

fn run(cases: Vec<Case>) {
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

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn lying_headers_are_refused() {
    let mut twice = tar(&[pax(&[record("path", "a")]), pax(&[record("path", "b")])]);
    twice.raw(&tar(&[file("c", "")]).0);
    run(vec![
        refused(
            "size of a directory",
            vec![sized(b'5', "d", b"00000001000\0")],
            "'d' of the layer: it is not a file but has a size",
        ),
        refused(
            "size of a link",
            vec![sized(b'2', "l", b"00000001000\0")],
            "has a size",
        ),
        refused(
            "size of a directory in pax",
            vec![pax(&[record("size", "512")]), directory("d")],
            "has a size",
        ),
        refused(
            "negative size",
            vec![sized(b'0', "f", &[0xff; 12])],
            "negative or out of range",
        ),
        refused(
            "huge size",
            vec![sized(
                b'0',
                "f",
                b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xfe\0",
            )],
            "out of range",
        ),
        refused(
            "largest size",
            vec![sized(
                b'0',
                "f",
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            )],
            "bytes in files",
        ),
        refused(
            "not octal",
            vec![sized(b'0', "f", b"0x000001000\0")],
            "not octal",
        ),
        refused(
            "larger than the archive",
            vec![sized(b'0', "f", b"00000100000\0")],
            "ends inside entry 1",
        ),
        refused(
            "pax size decides",
            vec![pax(&[record("size", "4096")]), file("f", "abc")],
            "ends inside entry 1",
        ),
        refused(
            "pax size is not a number",
            vec![pax(&[record("size", "1e3")]), file("f", "abc")],
            "not decimal",
        ),
        refused(
            "pax size twice",
            vec![
                pax(&[record("size", "1"), record("size", "2")]),
                file("f", "abc"),
            ],
            "twice",
        ),
        refused(
            "global path",
            vec![
                Entry {
                    data: record("path", "x"),
                    ..entry(b'g', "g")
                },
                file("f", ""),
            ],
            "global header",
        ),
        refused(
            "extension without an entry",
            vec![pax(&[record("path", "x")])],
            "ends inside entry 1",
        ),
        refused(
            "sparse in pax",
            vec![pax(&[record("GNU.sparse.major", "1")]), file("f", "")],
            "sparse",
        ),
        refused(
            "unknown type",
            vec![entry(b'Z', "z")],
            "'z' of the layer: its type is unknown",
        ),
        refused(
            "owner -1",
            vec![pax(&[record("uid", "4294967295")]), file("f", "")],
            "owner is out of range",
        ),
        refused(
            "owner 2^32",
            vec![pax(&[record("gid", "4294967296")]), file("f", "")],
            "owner is out of range",
        ),
        harmless(
            "global comment",
            vec![
                Entry {
                    data: record("comment", "x"),
                    ..entry(b'g', "g")
                },
                file("f", ""),
            ],
        ),
        harmless(
            "an unknown mode",
            vec![Entry {
                mode: 0o177_7777,
                ..file("f", "")
            }],
        ),
    ]);
    let ground = Ground::new();
    let error = ground
        .unpack_bytes(&twice.ended(), &Limits::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("two extension headers"),
        "{error}"
    );
}

#[test]
fn an_owner_outside_of_the_map_is_named() {
    if !rustix::process::geteuid().is_root() {
        return run(vec![refused(
            "of somebody else",
            vec![of((12, 34), "f")],
            "give to its owner 'f'",
        )]);
    }
    run(vec![harmless("of somebody else", vec![of((12, 34), "f")])]);
}

#[test]
fn broken_archives_are_refused() {
    let good = tar(&[file("f", "abc")]);
    let mut sum = good.0.clone();
    sum[0] = b'g';
    let mut header = good.0.clone();
    header.truncate(512 + 2);
    let mut single = good.0.clone();
    single.extend_from_slice(&[0; 512]);
    single.extend_from_slice(&tar(&[file("hidden", "")]).0);
    for (bytes, text) in [
        (sum, "wrong checksum"),
        (header, "ends inside entry 1"),
        (good.0[..300].to_vec(), "ends inside entry 1"),
        (single, "single block of zeros"),
        (b"this is no archive".repeat(100), "entry 1"),
    ] {
        let ground = Ground::new();
        let error = ground.unpack_bytes(&bytes, &Limits::default()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    // Without the blocks of zeros at the end or its last padding, and empty: as other readers do.
    let unpadded = good.0[..512 + 3].to_vec();
    for bytes in [
        good.0.clone(),
        unpadded,
        Vec::new(),
        vec![0; 512],
        vec![0; 10240],
    ] {
        Ground::new()
            .unpack_bytes(&bytes, &Limits::default())
            .unwrap();
    }
}

#[test]
fn everything_that_is_counted_has_a_limit() {
    let many: Vec<Entry> = (0..20)
        .map(|at| directory(format!("directory-{at}")))
        .collect();
    let long = [pax(&[record("comment", "c".repeat(5000))]), file("f", "")];
    let names = Entry {
        data: vec![b'n'; 5000],
        ..entry(b'L', "l")
    };
    for (limits, entries, text) in [
        (
            Limits {
                entries: 19,
                ..Limits::default()
            },
            many.clone(),
            "more than 19 entries",
        ),
        (
            Limits {
                directories: 1000,
                ..Limits::default()
            },
            many,
            "names of directories",
        ),
        (
            Limits {
                extensions: 4096,
                ..Limits::default()
            },
            long.to_vec(),
            "extension headers",
        ),
        (
            Limits {
                extensions: 4096,
                ..Limits::default()
            },
            vec![names, file("f", "")],
            "extension headers",
        ),
        (
            Limits {
                bytes: 4096,
                ..Limits::default()
            },
            vec![file("f", "x".repeat(5000))],
            "more than 4096",
        ),
    ] {
        let ground = Ground::new();
        let error = ground
            .unpack_bytes(&tar(&entries).ended(), &limits)
            .unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

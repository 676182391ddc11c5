//! Archives that lie about themselves, or are more than is allowed.

use super::hostile::{harmless, refused, run};
use super::*;

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

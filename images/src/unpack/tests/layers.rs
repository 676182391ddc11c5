//! Honest layers.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;

#[test]
fn every_kind_of_entry_is_made() {
    let ground = Ground::new();
    let mut setuid = file("bin/su", "x".repeat(700_000));
    setuid.mode = 0o4755;
    let mut sticky = directory("tmp/");
    sticky.mode = 0o1777;
    let mut closed = directory("closed");
    closed.mode = 0o500;
    let mut null = entry(b'3', "dev/null");
    null.device = (1, 3);
    let report = ground
        .unpack(&[
            directory("./"),
            directory("bin"),
            setuid,
            sticky,
            closed,
            file("closed/inside", "inside"),
            symlink("bin/sh", "/bin/su"),
            hard_link("bin/su2", "./bin/su"),
            entry(b'6', "pipe"),
            null,
            file("empty", ""),
            file("implied/directory/file", "1"),
        ])
        .unwrap();
    let su = fs::symlink_metadata(ground.at("bin/su")).unwrap();
    assert_eq!((su.mode(), su.len(), su.nlink()), (0o104_755, 700_000, 2));
    assert_eq!(su.mtime(), 1_000_000_000);
    let mode = |path| fs::symlink_metadata(ground.at(path)).unwrap().mode();
    assert_eq!(mode("tmp"), 0o41_777);
    assert_eq!(mode("closed"), 0o40_500);
    assert_eq!(mode("empty"), 0o100_644);
    assert_eq!(mode("implied/directory"), 0o40_755);
    assert_eq!(ground.text("closed/inside"), "inside");
    assert_eq!(
        fs::read_link(ground.at("bin/sh")).unwrap(),
        Path::new("/bin/su")
    );
    let pipe = fs::symlink_metadata(ground.at("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    assert!(!ground.at("dev/null").exists());
    for path in ["", "bin", "bin/sh", "pipe", "closed"] {
        let metadata = fs::symlink_metadata(ground.at(path)).unwrap();
        assert_eq!(metadata.mtime(), 1_000_000_000, "{path}");
    }
    assert_eq!((report.entries, report.files), (12, 4));
    assert_eq!(report.implied_directories, 3);
    assert_eq!(report.devices_skipped, 1);
    assert_eq!((report.devices[0].major, report.devices[0].minor), (1, 3));
}

#[test]
fn long_names_and_fractions_of_seconds_come_from_extension_headers() {
    let ground = Ground::new();
    let deep = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let target = "t".repeat(300);
    let long = |kind, text: &str| Entry {
        data: [text.as_bytes(), b"\0"].concat(),
        ..entry(kind, "././@LongLink")
    };
    ground
        .unpack(&[
            pax(&[
                record("SCHILY.xattr.user.a", "newline\n12 path=x\n"),
                record("path", &deep),
                record("mtime", "1234567890.123456789"),
                record("size", "3"),
            ]),
            file("short", "pax"),
            long(b'L', &format!("gnu/{}", "g".repeat(150))),
            long(b'K', &target),
            symlink("short", "short"),
            pax(&[record("path", "decides"), record("mtime", "-0.5")]),
            long(b'L', "loses"),
            file("short", "1"),
        ])
        .unwrap();
    assert_eq!(ground.text(&deep), "pax");
    let metadata = fs::metadata(ground.at(&deep)).unwrap();
    assert_eq!(
        (metadata.mtime(), metadata.mtime_nsec()),
        (1_234_567_890, 123_456_789)
    );
    let link = ground.at(&format!("gnu/{}", "g".repeat(150)));
    assert_eq!(fs::read_link(link).unwrap(), Path::new(&target));
    let metadata = fs::metadata(ground.at("decides")).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-1, 500_000_000));
    assert!(!ground.at("short").exists() && !ground.at("loses").exists());
}

#[test]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let ground = Ground::new();
    ground.unpack(&[file(b"caf\xe9\n\x1b[2J", "1")]).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9\n\x1b[2J");
    assert!(ground.root.join(name).exists());
}

#[test]
fn the_last_of_two_entries_of_one_name_stays() {
    let ground = Ground::new();
    ground
        .unpack(&[
            file("a", "first"),
            hard_link("keeps", "a"),
            file("a", "second"),
            file("b/c/d", "1"),
            symlink("b", "a"),
            symlink("c", "b"),
            directory("c"),
            file("c/x", "1"),
            directory("d"),
            file("d/stays", "1"),
            Entry {
                mode: 0o700,
                ..directory("d")
            },
            hard_link("keeps", "a"),
            hard_link("keeps", "a"),
            entry(b'6', "e"),
            file("e", "not written into a fifo"),
        ])
        .unwrap();
    assert_eq!(ground.text("a"), "second");
    assert_eq!(ground.text("keeps"), "second");
    assert_eq!(fs::read_link(ground.at("b")).unwrap(), Path::new("a"));
    assert!(fs::symlink_metadata(ground.at("c")).unwrap().is_dir());
    assert_eq!(ground.text("d/stays"), "1");
    assert_eq!(fs::metadata(ground.at("d")).unwrap().mode(), 0o40_700);
    assert_eq!(ground.text("e"), "not written into a fifo");
}

#[test]
fn a_directory_that_was_replaced_gives_its_mode_to_no_other() {
    let ground = Ground::new();
    let with_mode = |mode, name| Entry {
        mode,
        ..directory(name)
    };
    ground
        .unpack(&[
            directory("a"),
            with_mode(0o4777, "a/b"),
            with_mode(0o755, "a-b"),
            directory("z"),
            with_mode(0o700, "z/b"),
            symlink("a", "z"),
        ])
        .unwrap();
    assert_eq!(fs::metadata(ground.at("z/b")).unwrap().mode(), 0o40_700);
    assert_eq!(fs::metadata(ground.at("a-b")).unwrap().mode(), 0o40_755);
}

#[test]
fn a_link_to_a_directory_of_the_layer_is_followed_inside() {
    let ground = Ground::new();
    ground
        .unpack(&[
            directory("run"),
            directory("var"),
            symlink("var/run", "/run"),
            file("var/run/absolute", "1"),
            symlink("lib", "var/../run"),
            file("lib/relative", "2"),
            symlink("up", "../../../../../../../.."),
            file("up/top", "3"),
        ])
        .unwrap();
    assert_eq!(ground.text("run/absolute"), "1");
    assert_eq!(ground.text("run/relative"), "2");
    assert_eq!(ground.text("top"), "3");
    ground.is_untouched();
}

#[test]
fn sparse_files_of_the_old_gnu_form_have_their_holes() {
    let ground = Ground::new();
    let mut sparse = entry(b'S', "sparse");
    sparse.data = [vec![b'a'; 512], vec![b'b'; 3]].concat();
    let mut block = sparse.header();
    block[257..265].copy_from_slice(b"ustar  \0");
    for (at, number) in [
        (386, 0),
        (398, 512),
        (410, 1 << 20),
        (422, 3),
        (483, 5 << 20),
    ] {
        block[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
    }
    let mut archive = Tar::default();
    archive.raw(&with_sum(block));
    archive.raw(&sparse.data);
    archive.raw(&[0; 509]);
    archive.raw(&tar(&[file("next", "n")]).0);
    ground
        .unpack_bytes(&archive.ended(), &Limits::default())
        .unwrap();
    let bytes = fs::read(ground.at("sparse")).unwrap();
    assert_eq!(bytes.len(), 5 << 20);
    assert_eq!(&bytes[..512], [b'a'; 512]);
    assert_eq!(&bytes[1 << 20..][..4], b"bbb\0");
    assert_eq!(ground.text("next"), "n");
}

#[test]
fn attributes_are_kept_by_an_allow_list() {
    let ground = Ground::new();
    let report = ground
        .unpack(&[
            pax(&[
                record("SCHILY.xattr.user.kept", "a\0b\nc"),
                record("SCHILY.xattr.user.overlay.opaque", "y"),
                record("SCHILY.xattr.trusted.overlay.opaque", "y"),
                record("SCHILY.xattr.security.selinux", "x"),
                record("SCHILY.xattr.user.evil\u{1b}", "x"),
            ]),
            directory("d"),
        ])
        .unwrap();
    let mut value = [0; 16];
    let kept = match rustix::fs::lgetxattr(ground.at("d"), "user.kept", &mut value) {
        Err(rustix::io::Errno::OPNOTSUPP) => return eprintln!("SKIP: no user attributes here"),
        kept => kept.unwrap(),
    };
    assert_eq!(&value[..kept], b"a\0b\nc");
    for name in ["user.overlay.opaque", "trusted.overlay.opaque"] {
        assert!(rustix::fs::lgetxattr(ground.at("d"), name, &mut value).is_err());
    }
    let dropped: Vec<&str> = report.xattrs_dropped.keys().map(String::as_str).collect();
    assert_eq!(
        dropped,
        [
            "security.selinux",
            "trusted.overlay.opaque",
            "user.overlay.opaque"
        ]
    );
}

#[test]
fn nothing_is_made_that_was_not_given_before() {
    let ground = Ground::new();
    let files = ["one", "two", "three"].map(|name| file(name, "x".repeat(1000)));
    let archive = tar(&files).ended();
    let root = fs::File::open(&ground.root).unwrap();
    let mut asked = Vec::new();
    let budget = Budget::new(|need| {
        asked.push((need.entries, need.bytes, ground.at("two").exists()));
        match asked.len() {
            1 => Ok(Amount { entries: 3, ..need }),
            2 => Ok(Amount {
                bytes: 2500,
                ..need
            }),
            _ => Err(std::io::Error::other("no more")),
        }
    });
    let unpacked = super::super::layer(
        archive.as_slice(),
        &expect("", &archive, &archive),
        root.as_fd(),
        Ownership::Keep,
        &Limits::default(),
        budget,
    );
    assert!(matches!(unpacked, Err(UnpackError::Budget(_))));
    // The entries at first, then the bytes of each file that does not fit into what is left.
    assert_eq!(asked, [(1, 0, false), (0, 1000, false), (0, 500, true)]);
    assert!(ground.at("two").exists() && !ground.at("three").exists());
}

#[test]
fn owners_are_kept_or_squashed() {
    let ground = Ground::new();
    let mut other = file("other", "1");
    other.owner = (12, 34);
    other.mode = 0o6755;
    let archive = tar(&[other]).ended();
    let root = fs::File::open(&ground.root).unwrap();
    let expect = expect("", &archive, &archive);
    let unpack = |ownership| {
        layer(
            archive.as_slice(),
            &expect,
            root.as_fd(),
            ownership,
            &Limits::default(),
        )
    };
    let report = unpack(Ownership::Squash).unwrap();
    assert!(report.owners_squashed);
    let metadata = fs::metadata(ground.at("other")).unwrap();
    assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
    if !rustix::process::geteuid().is_root() {
        assert!(unpack(Ownership::Keep).is_err());
        return;
    }
    unpack(Ownership::Keep).unwrap();
    let metadata = fs::metadata(ground.at("other")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12, 34));
    assert_eq!(
        metadata.mode(),
        0o106_755,
        "changing the owner must not clear setuid"
    );
}

//! Layers that attack, given to the real program: refused with the layer's and the entry's name, or harmless; nothing outside
//! of the tree is touched, and after a refusal the store is as before. The tables of `images/src/unpack/tests` have more.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use functional::{
    Built, Compression, Entry, Env, Image, Kind, Layer, User, difference, snapshot, store_snapshot,
};

const INSECURE: &str = "--insecure-options=image";

struct Lab {
    env: Env,
    outside: PathBuf,
    before: (BTreeMap<String, String>, BTreeMap<String, String>),
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let outside = env.scratch("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        env.give(&outside);
        let mut lab = Self {
            env,
            outside,
            before: Default::default(),
        };
        lab.fetch("good", &Image::inspect().build()).success();
        lab.before = (store_snapshot(&lab.env), snapshot(&lab.outside));
        lab
    }

    /// The name does not say what is wrong: an error that names the image would seem to say it too.
    fn fetch(&self, name: &str, image: &Built) -> functional::Run {
        let layout = self
            .env
            .scratch(&format!("{name}-{}", &image.digest()[7..15]));
        image.write_layout(&layout, "1");
        self.env.give(&layout);
        let name = format!("oci:{}:1", layout.display());
        self.env.skua(&[INSECURE, "fetch", &name])
    }

    fn is_outside_untouched(&self, what: &str) {
        let changed = difference(&self.before.1, &snapshot(&self.outside));
        assert!(changed.is_empty(), "{what}: {changed:#?}");
    }

    fn refuses(&self, what: &str, layer: &Layer, parts: &[&str]) {
        eprintln!("{what}");
        let image = Image::inspect().layer(layer.clone()).build();
        let digest = image.layers[1].digest.clone();
        let parts = [&["cannot unpack layer", digest.as_str()], parts].concat();
        let run = self.fetch("refused", &image).fails(&parts);
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.report());
        let changed = difference(&self.before.0, &store_snapshot(&self.env));
        assert!(changed.is_empty(), "{changed:#?}\n{}", run.report());
        self.is_outside_untouched(what);
    }

    /// The tree of a layer that is accepted.
    fn accepts(&self, what: &str, layer: &Layer) -> PathBuf {
        eprintln!("{what}");
        let image = Image::inspect().layer(layer.clone()).build();
        self.fetch("accepted", &image).success();
        self.is_outside_untouched(what);
        let hex = &image.layers[1].diff_id["sha256:".len()..];
        self.env
            .data()
            .join("store/trees/sha256")
            .join(hex)
            .join("fs")
    }
}

fn file(content: &str) -> Kind {
    Kind::File(content.as_bytes().to_vec())
}

fn raw(edit: impl FnOnce(&mut Vec<u8>)) -> Layer {
    let mut tar = Layer::new().file("f", 0o644, "content").build_tar();
    edit(&mut tar);
    Layer::raw(tar)
}

/// Makes the sum of the first header right again.
fn sum(tar: &mut [u8]) {
    tar[148..156].fill(b' ');
    let sum: u64 = tar[..512].iter().map(|byte| u64::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The first header, edited, with its sum made right again.
fn header(at: usize, bytes: &[u8]) -> Layer {
    raw(|tar| {
        tar[at..at + bytes.len()].copy_from_slice(bytes);
        sum(tar);
    })
}

/// A PAX header that is global.
fn global(key: &str, value: &[u8]) -> Layer {
    let mut tar = with_pax(&[(key, value)]).build_tar();
    tar[156] = b'g';
    sum(&mut tar);
    Layer::raw(tar)
}

fn with_pax(records: &[(&str, &[u8])]) -> Layer {
    let mut entry = Entry::new("f", file("content"));
    for (key, value) in records {
        entry = entry.pax(key, value);
    }
    Layer::new().entry(entry)
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    let lab = Lab::new(User::ordinary());
    let escape = Entry::new("\u{1b}[2J/../x", file(""));
    for (what, layer, part) in [
        (
            "dot dot",
            Layer::new().file("../x", 0o644, ""),
            "'../x' of the layer",
        ),
        (
            "dot dot in the prefix",
            header(345, b"../.."),
            "'../../f' of the layer",
        ),
        ("escape", Layer::new().entry(escape), r"'\u{1b}[2J/../x'"),
        ("pax over header", with_pax(&[("path", b"../x")]), "'../x'"),
        ("nul", with_pax(&[("path", b"a\0b")]), "NUL"),
        (
            "root as a link",
            Layer::new().symlink("./", "/"),
            "not a directory",
        ),
        (
            "whiteout of dot dot",
            Layer::new().file(".wh...", 0o644, ""),
            "hides no name",
        ),
        (
            "whiteout of the root",
            Layer::new().file("/.wh.", 0o644, ""),
            "hides no name",
        ),
        (
            "deep",
            Layer::new().file(&"d/".repeat(300), 0o644, ""),
            "too many components",
        ),
        (
            "long",
            Layer::new().file(&"d".repeat(5000), 0o644, ""),
            "too long",
        ),
        (
            "long component",
            Layer::new().file(&"d".repeat(300), 0o644, ""),
            "name too long",
        ),
    ] {
        lab.refuses(what, &layer, &[part]);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn links_that_lead_out_are_refused_or_stay_inside() {
    let lab = Lab::new(User::ordinary());
    let outside = lab.outside.display().to_string();
    let secret = format!("{outside}/secret");
    for (what, layer, part) in [
        (
            "hard link out",
            Layer::new().hardlink("l", &format!("../../..{secret}")),
            "'l'",
        ),
        (
            "hard link to an absolute path",
            Layer::new().hardlink("l", &secret),
            "'l'",
        ),
        (
            "hard link to itself",
            Layer::new().hardlink("l", "./l"),
            "'l'",
        ),
        (
            "hard link to a directory",
            Layer::new().directory("d").hardlink("l", "d"),
            "'l'",
        ),
        (
            "dangling hard link",
            Layer::new().hardlink("l", "none"),
            "'none'",
        ),
        (
            "hard link through a link",
            Layer::new()
                .symlink("o", &outside)
                .hardlink("l", "o/secret"),
            "'l'",
        ),
        (
            "write through a link",
            Layer::new()
                .symlink("o", &outside)
                .file("o/secret", 0o644, "x"),
            "'o/secret'",
        ),
    ] {
        lab.refuses(what, &layer, &[part]);
    }
    let over = Layer::new()
        .symlink("l", &secret)
        .entry(Entry::new("l", file("mine")).mode(0o777))
        .symlink("d", &outside)
        .entry(Entry::new("d", Kind::Directory).mode(0o777))
        .symlink("h", &secret)
        .hardlink("h2", "h")
        .entry(Entry::new("h2", file("mine")).mode(0o777));
    let tree = lab.accepts("over links", &over);
    assert_eq!(fs::read_to_string(tree.join("l")).unwrap(), "mine");
    let opaque = Layer::new()
        .symlink("o", &format!("../../../../../..{outside}"))
        .file("o/.wh..wh..opq", 0o644, "")
        .file("o/.wh.secret", 0o644, "");
    lab.accepts("opaque through a link", &opaque);
}

#[test]
fn archives_that_lie_are_refused() {
    let lab = Lab::new(User::ordinary());
    let two = [("path", &b"a"[..]), ("path", b"b")];
    for (what, layer, part) in [
        ("negative size", header(124, &[0xff; 12]), "negative"),
        (
            "size of 2 to the 63",
            header(124, b"\x80\0\0\0\x80\0\0\0\0\0\0\0"),
            "out of range",
        ),
        (
            "size that is not octal",
            header(124, b"0000000000x\0"),
            "not octal",
        ),
        ("bad sum", raw(|tar| tar[0] = b'g'), "checksum"),
        ("size of a directory", header(156, b"5"), "has a size"),
        ("unknown type", header(156, b"V"), "type is unknown"),
        (
            "owner of 2 to the 32",
            with_pax(&[("uid", b"4294967296")]),
            "owner is out of range",
        ),
        (
            "pax size of more",
            with_pax(&[("size", b"99999")]),
            "ends inside entry 1",
        ),
        (
            "pax size twice",
            with_pax(&[("size", b"7"), ("size", b"7")]),
            "twice",
        ),
        ("pax path twice", with_pax(&two), "twice"),
        (
            "attribute twice",
            with_pax(&[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.a", b"2")]),
            "twice",
        ),
        (
            "sparse in pax",
            with_pax(&[("GNU.sparse.major", b"1")]),
            "sparse",
        ),
        (
            "truncated",
            raw(|tar| tar.truncate(514)),
            "ends inside entry 1",
        ),
        ("no archive", Layer::raw(b"x".repeat(2000)), "entry 1"),
        ("global header", global("path", b"evil"), "global header"),
    ] {
        lab.refuses(what, &layer, &[part]);
    }
    // Two whole archives, one after the other: what follows the end of the first is not there.
    let second = Layer::new().file("second", 0o644, "").build_tar();
    let tree = lab.accepts("concatenated", &raw(|tar| tar.extend(second)));
    let names: Vec<_> = fs::read_dir(tree).unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn what_a_layer_may_not_have_is_left_out_and_what_is_odd_is_kept() {
    use std::os::unix::ffi::OsStrExt;
    for user in User::all() {
        let lab = Lab::new(user);
        let layer = Layer::new()
            .entry(Entry::new("null", Kind::CharacterDevice(1, 3)))
            .entry(Entry::new("disk", Kind::BlockDevice(8, 0)))
            .entry(Entry::new(b"caf\xe9".to_vec(), file("latin")))
            .entry(Entry::new("new\nline\u{1b}", file("odd")))
            .file("twice", 0o644, "first")
            .file("twice", 0o600, "second")
            .entry(Entry::new("setuid", file("")).mode(0o4755))
            .entry(
                Entry::new("marked", Kind::Directory)
                    .xattr("trusted.overlay.opaque", b"y")
                    .xattr("user.overlay.opaque", b"y")
                    .xattr("user.overlay.redirect", b"/etc")
                    .xattr("security.selinux", b"x")
                    .xattr(
                        "security.capability",
                        b"\x01\0\0\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0",
                    )
                    .xattr("user.mine", b"kept"),
            );
        let tree = lab.accepts("odd", &layer);
        for absent in ["null", "disk"] {
            assert!(!tree.join(absent).exists(), "{absent} as {user:?}");
        }
        let latin = tree.join(Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9")));
        assert_eq!(fs::read_to_string(latin).unwrap(), "latin");
        assert_eq!(fs::read_to_string(tree.join("twice")).unwrap(), "second");
        assert!(tree.join("new\nline\u{1b}").exists());
        if functional::missing_program(&["getfattr"]).is_none() {
            let marked = tree.join("marked");
            let listed = std::process::Command::new("getfattr")
                .args(["--absolute-names", "--dump", "--match=-"])
                .arg(&marked)
                .output()
                .unwrap();
            let text = String::from_utf8(listed.stdout).unwrap();
            assert!(text.contains("user.mine=\"kept\""), "{text}");
            assert!(
                !text.contains("overlay") && !text.contains("selinux"),
                "{text}"
            );
        }
    }
}

#[test]
fn bombs_end_at_their_limit() {
    let lab = Lab::new(User::ordinary());
    let config = lab.env.config().join("config.toml");
    fs::write(
        &config,
        "[image-limits]\nunpacked = '8MiB'\nentries = 1000\n",
    )
    .unwrap();
    lab.env.give(&config);
    let zeros = Layer::new().file("zeros", 0o644, vec![0; 9 << 20]);
    let after_the_end = raw(|tar| tar.resize(9 << 20, 0));
    let mut many = Layer::new();
    for at in 0..1001 {
        many = many.symlink(&format!("l{at}"), "x");
    }
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let parts = match compression {
            Compression::None => ["bytes"],
            _ => ["more than 8388608"],
        };
        if compression != Compression::None {
            lab.refuses("zeros", &zeros.clone().compression(compression), &parts);
            lab.refuses(
                "after the end",
                &after_the_end.clone().compression(compression),
                &parts,
            );
        }
        lab.refuses(
            "entries",
            &many.clone().compression(compression),
            &["1000 entries"],
        );
    }
    // A sparse file that says that it is an exabyte.
    let mut sparse = Layer::new().file("sparse", 0o644, "").build_tar();
    sparse[156] = b'S';
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[483..495].copy_from_slice(b"\x80\0\0\0\x10\0\0\0\0\0\0\0");
    sum(&mut sparse);
    lab.refuses("sparse", &Layer::raw(sparse), &["bytes in files"]);
}

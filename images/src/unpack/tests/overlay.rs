//! Whiteouts, as files here and as seen through a real overlayfs by the functional tests.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;

fn is_whiteout(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    rustix::fs::lgetxattr(path, crate::store::OPAQUE, &mut value) == Ok(1) && value == *b"y"
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let ground = Ground::new();
    let report = ground
        .unpack(&[
            file("etc/.wh.gone", ""),
            file("etc/.wh.gone", ""),
            directory("opaque"),
            file("opaque/stays", "1"),
            file("opaque/.wh..wh..opq", ""),
            file("only/.wh..wh..opq", ""),
        ])
        .unwrap();
    assert!(is_whiteout(&ground.at("etc/gone")));
    assert!(is_opaque(&ground.at("opaque")) && is_opaque(&ground.at("only")));
    assert_eq!(ground.text("opaque/stays"), "1");
    assert_eq!(
        (report.whiteouts, report.opaques, report.opaque_root),
        (1, 2, false)
    );
}

#[test]
fn whiteouts_hide_lower_layers_only_whatever_the_order() {
    let ground = Ground::new();
    ground
        .unpack(&[
            file(".wh.file-after", ""),
            file("file-after", "1"),
            file("file-before", "1"),
            file(".wh.file-before", ""),
            file(".wh.directory-after", ""),
            directory("directory-after"),
            file("directory-after/x", "1"),
            directory("directory-before"),
            file("directory-before/x", "1"),
            file(".wh.directory-before", ""),
            file(".wh.implied", ""),
            file("implied/x", "1"),
            file(".wh.link", ""),
            symlink("link", "/"),
        ])
        .unwrap();
    for name in [
        "file-after",
        "file-before",
        "directory-after/x",
        "directory-before/x",
        "implied/x",
    ] {
        assert_eq!(ground.text(name), "1", "{name}");
    }
    for name in ["directory-after", "directory-before", "implied"] {
        assert!(is_opaque(&ground.at(name)), "{name}");
    }
    assert!(ground.at("link").is_symlink());
}

#[test]
fn an_opaque_root_is_marked() {
    let ground = Ground::new();
    let report = ground
        .unpack(&[file(".wh..wh..opq", ""), file("a", "1")])
        .unwrap();
    assert!(report.opaque_root && is_opaque(&ground.root));
}

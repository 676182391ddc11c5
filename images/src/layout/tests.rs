//! Layouts, honest and hostile, as directories and as archives.

use std::path::Path;

use super::*;

const MANIFEST: &[u8] = b"{\"schemaVersion\":2}";

fn index(tags: &[&str]) -> String {
    let entry = |tag: &&str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(MANIFEST).to_string(), "size": MANIFEST.len(),
            "annotations": {REF_NAME: tag}
        })
    };
    let manifests: Vec<_> = tags.iter().map(entry).collect();
    serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string()
}

fn files(tags: &[&str]) -> Vec<(String, Vec<u8>)> {
    vec![
        (
            "oci-layout".to_owned(),
            b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec(),
        ),
        ("index.json".to_owned(), index(tags).into_bytes()),
        (
            format!("blobs/sha256/{}", Digest::of(MANIFEST).hex()),
            MANIFEST.to_vec(),
        ),
    ]
}

fn write(directory: &Path, files: &[(String, Vec<u8>)]) {
    std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).unwrap();
    }
}

fn archive(files: &[(String, Vec<u8>)]) -> File {
    let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, format!("./{name}"), bytes.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn open(directory: &Path) -> Result<Layout, LayoutError> {
    Layout::directory(File::open(directory).unwrap().into())
}

#[test]
fn an_image_is_found_by_tag_by_digest_or_because_it_is_the_only_one() {
    let directory = tempfile::tempdir().unwrap();
    let signature = format!("sha256-{}.sig", Digest::of(b"x").hex());
    let pinned = Digest::of(MANIFEST).to_string();
    for (tags, name, found) in [
        (vec!["a"], None, true),
        (vec!["a", signature.as_str()], None, true),
        (vec!["a", "b"], None, false),
        (vec![], None, false),
        (vec!["a", "b"], Some("b"), true),
        (vec!["docker.io/library/x:b"], Some("b"), true),
        (vec!["xb"], Some("b"), false),
        (vec!["a"], Some("c"), false),
        (vec![], Some(pinned.as_str()), true),
        (
            vec!["a", signature.as_str()],
            Some(signature.as_str()),
            true,
        ),
    ] {
        let files = files(&tags);
        write(directory.path(), &files);
        let layouts = [
            open(directory.path()),
            Layout::archive(archive(&files), None),
        ];
        for layout in layouts {
            let manifest = layout.unwrap().manifest(name, 4096);
            assert_eq!(manifest.is_ok(), found, "{tags:?} {name:?}: {manifest:?}");
            if let Ok(manifest) = manifest {
                assert_eq!(manifest.bytes, MANIFEST);
            }
        }
    }
}

#[test]
fn what_is_no_layout_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(open(directory.path()), Err(LayoutError::Version)));
    write(directory.path(), &files(&["a"]));
    std::fs::write(
        directory.path().join("oci-layout"),
        "{\"imageLayoutVersion\":\"2.0.0\"}",
    )
    .unwrap();
    assert!(matches!(open(directory.path()), Err(LayoutError::Version)));
    let text = tempfile::tempfile().unwrap();
    text.write_all_at(&b"no archive at all".repeat(100), 0)
        .unwrap();
    assert!(matches!(
        Layout::archive(text, None),
        Err(LayoutError::NotTar(_))
    ));
    let twice = [files(&["a"]), files(&["b"])].concat();
    assert!(matches!(
        Layout::archive(archive(&twice), None),
        Err(LayoutError::Ambiguous(_))
    ));
    let cut = archive(&files(&["a"]));
    cut.set_len(512 + 100).unwrap();
    assert!(Layout::archive(cut, None).is_err());
}

#[test]
fn links_fifos_and_directories_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &files(&["a"]));
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("manifest"), MANIFEST).unwrap();
    let path = directory
        .path()
        .join(format!("blobs/sha256/{}", Digest::of(MANIFEST).hex()));
    let refused = || {
        let manifest = open(directory.path()).unwrap().manifest(Some("a"), 4096);
        assert!(
            matches!(manifest, Err(LayoutError::NotAFile(_))),
            "{manifest:?}"
        );
    };
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(outside.path().join("manifest"), &path).unwrap();
    refused();
    std::fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    refused();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused();
    std::fs::remove_dir_all(directory.path().join("blobs/sha256")).unwrap();
    let hex = outside.path().join(Digest::of(MANIFEST).hex());
    std::fs::rename(outside.path().join("manifest"), hex).unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("blobs/sha256")).unwrap();
    refused();
}

#[test]
fn a_document_is_bounded_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &files(&["a"]));
    let layout = open(directory.path()).unwrap();
    assert!(matches!(
        layout.manifest(Some("a"), 3),
        Err(LayoutError::TooLarge(..))
    ));
    let path = directory
        .path()
        .join(format!("blobs/sha256/{}", Digest::of(MANIFEST).hex()));
    std::fs::write(path, "{\"schemaVersion\":3}").unwrap();
    assert!(matches!(
        layout.manifest(Some("a"), 4096),
        Err(LayoutError::Corrupt { .. })
    ));
    std::fs::write(
        directory.path().join("index.json"),
        "{\"manifests\":[],\"manifests\":[]}",
    )
    .unwrap();
    assert!(matches!(
        layout.manifest(Some("a"), 4096),
        Err(LayoutError::Parse(..))
    ));
}

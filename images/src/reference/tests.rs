//! Names that must be understood, and names that must not.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn registry_names_have_one_canonical_form() {
    for (given, canonical) in [
        ("docker.io/library/debian:12", "docker.io/library/debian:12"),
        (
            "docker://docker.io/debian",
            "docker.io/library/debian:latest",
        ),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("quay.io/org/img", "quay.io/org/img:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:A-b.C_1", "localhost:5000/x:A-b.C_1"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("[2001:db8::1]/x/y", "[2001:db8::1]/x/y:latest"),
        ("a.b/c__d/e-f--g/h.i_j", "a.b/c__d/e-f--g/h.i_j:latest"),
        ("a.b/c/d/e/f/g:_", "a.b/c/d/e/f/g:_"),
    ] {
        assert_eq!(ImageName::parse(given).unwrap().to_string(), canonical);
    }
    for (given, canonical) in [
        (format!("a.b/c@{DIGEST}"), format!("a.b/c@{DIGEST}")),
        (format!("a.b/c:t@{DIGEST}"), format!("a.b/c:t@{DIGEST}")),
    ] {
        assert_eq!(ImageName::parse(&given).unwrap().to_string(), canonical);
    }
}

#[test]
fn what_is_wrong_with_a_name_is_said() {
    for (given, part) in [
        ("debian", "docker.io/debian"),
        ("debian:12", "docker.io/debian:12"),
        ("library/debian", "has no registry"),
        ("UPPER/x", "has no registry"),
        ("quay.io/Org/img", "write 'org/img'"),
        ("quay.io/", "invalid repository ''"),
        ("quay.io//x", "invalid repository"),
        ("quay.io/x/", "invalid repository"),
        ("quay.io/../x", "invalid repository"),
        ("quay.io/x/..", "invalid repository"),
        ("quay.io/a..b", "invalid repository"),
        ("quay.io/a___b", "invalid repository"),
        ("quay.io/-a", "invalid repository"),
        ("quay.io/a-", "invalid repository"),
        ("quay.io/a\nb", "a\\nb"),
        ("quay.io/ä", "invalid repository"),
        ("quay.io/x:", "invalid tag"),
        ("quay.io/x:-t", "invalid tag"),
        ("quay.io/x:a/b", "invalid tag"),
        ("quay.io/x:a:b", "invalid tag"),
        ("quay.io/x@sha256:12", "invalid digest"),
        ("quay.io/x@", "invalid digest"),
        ("../x", "invalid registry host"),
        (".evil/x", "invalid registry host"),
        ("Quay.io/x", "invalid registry host"),
        ("quay.io:/x", "invalid registry host"),
        ("quay.io:99999/x", "invalid registry host"),
        ("quay.io:+80/x", "invalid registry host"),
        ("[::1/x", "invalid registry host"),
        ("[::1]5000/x", "invalid registry host"),
        ("[1.2.3.4]/x", "invalid registry host"),
        ("user@host.io/x", "invalid digest"),
        ("https://quay.io/x", "unknown transport"),
        ("docker-daemon:x", "unknown transport"),
        ("containers-storage:x", "unknown transport"),
        ("", "is empty"),
        ("dir:/srv/x", "unknown transport"),
        ("dir:5000/", "invalid repository"),
        ("oci:", "no usable path"),
        ("oci:/tmp:-", "invalid tag"),
        ("docker-archive:/tmp/x.tar:", "invalid tag"),
        ("docker-archive:/tmp/x.tar:a b", "invalid tag"),
        ("docker-archive:", "no usable path"),
    ] {
        let error = ImageName::parse(given).unwrap_err().to_string();
        assert!(error.contains(part), "{given:?}: {error}");
        assert!(!error.contains('\n'), "{given:?}: {error:?}");
    }
    assert!(matches!(
        ImageName::parse(&format!("a.b/{}", "c/".repeat(200) + "c")),
        Err(ReferenceError::TooLong { .. })
    ));
}

#[test]
fn a_path_is_a_scope_of_trust_and_cannot_pretend_to_be_another() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("trusted")).unwrap();
    std::fs::create_dir(root.join("evil")).unwrap();
    std::os::unix::fs::symlink("evil", root.join("link")).unwrap();
    let identity = |path: &str| {
        ImageName::parse(&format!("oci:{}/{path}:tag", root.display())).map(|name| name.identity())
    };
    let evil = format!("oci:{}/evil", root.display());
    assert_eq!(identity("trusted/../evil").unwrap(), evil);
    assert_eq!(identity("link").unwrap(), evil);
    assert!(identity("trusted/missing/../../evil").is_err());
    assert!(identity("missing").is_ok());
}

#[test]
fn layouts_and_archives_have_an_optional_tag() {
    for (given, tag) in [
        ("oci:/nowhere/dir", None),
        ("oci:/nowhere/dir:1.0", Some("1.0")),
        ("oci:/nowhere/a:b/dir", None),
        ("oci-archive:/nowhere/x.tar:latest", Some("latest")),
        ("oci-archive:-", None),
        ("oci-archive:-:1", Some("1")),
        ("docker-archive:/nowhere/x.tar", None),
        ("docker-archive:-:1", Some("1")),
        (
            "docker-archive:/nowhere/x.tar:localhost:5000/a/b:1",
            Some("localhost:5000/a/b:1"),
        ),
    ] {
        let found = match ImageName::parse(given).unwrap() {
            ImageName::Layout { tag, .. } | ImageName::Archive { tag, .. } => tag,
            ImageName::Registry(_) => panic!("{given}"),
        };
        assert_eq!(found.as_deref(), tag, "{given}");
        assert_eq!(ImageName::parse(given).unwrap().to_string(), given);
    }
}

#[test]
fn standard_input_is_a_dash_and_not_a_file_of_that_name() {
    for (given, stdin) in [
        ("docker-archive:-", true),
        ("oci-archive:-:1", true),
        ("oci-archive:./-", false),
        ("oci:-", false),
        ("quay.io/a/b", false),
    ] {
        let name = ImageName::parse(given).unwrap();
        assert_eq!(name.is_stdin(), stdin, "{given}");
    }
}

//! Which password goes to which registry, by the files of other tools.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn auth_file(directory: &Path, json: &str) -> PathBuf {
    let path = directory.join("auth.json");
    std::fs::write(&path, json).unwrap();
    path
}

fn find(
    files: &[PathBuf],
    host: &str,
    repository: &str,
) -> Result<Option<Credential>, CredentialsError> {
    let found = super::find(files, &[AUTH_FILES.to_owned()], host, repository)?;
    Ok(found.map(|login| login.credential))
}

fn user(found: Option<Credential>) -> Option<String> {
    found.map(|credential| match credential {
        Credential::Password { user, .. } => user,
        Credential::IdentityToken(token) => format!("token {token}"),
    })
}

#[test]
fn the_longest_prefix_at_a_boundary_wins() {
    let directory = tempfile::tempdir().unwrap();
    let encoded = |user: &str| STANDARD.encode(format!("{user}:secret:with:colons"));
    let file = auth_file(
        directory.path(),
        &format!(
            r#"{{"auths":{{
                "quay.io":{{"auth":"{}"}},
                "quay.io/org":{{"auth":"{}"}},
                "quay.io/org/repo":{{"auth":"{}"}},
                "https://index.docker.io/v1/":{{"auth":"{}"}},
                "helper.example":{{}},
                "token.example":{{"auth":"eA==","identitytoken":"t"}},
                "plain.example:5000":{{"username":"plain","password":"p"}}
            }}}}"#,
            encoded("host"),
            encoded("org"),
            encoded("repo"),
            encoded("hub"),
        ),
    );
    for (host, repository, expected) in [
        ("quay.io", "other", Some("host")),
        ("quay.io", "org/x", Some("org")),
        ("quay.io", "organisation", Some("host")),
        ("quay.io", "org/repo", Some("repo")),
        ("quay.io", "org/repo/deeper", Some("repo")),
        ("docker.io", "library/debian", Some("hub")),
        ("helper.example", "x", None),
        ("token.example", "x", Some("token t")),
        ("plain.example:5000", "x", Some("plain")),
        ("plain.example", "x", None),
        ("evil-quay.io", "org", None),
        ("quay.io.evil", "org", None),
    ] {
        let found = find(std::slice::from_ref(&file), host, repository).unwrap();
        assert_eq!(user(found).as_deref(), expected, "{host}/{repository}");
    }
    let found = find(&[file], "quay.io", "org").unwrap();
    assert!(
        matches!(found, Some(Credential::Password { password, .. }) if password == "secret:with:colons")
    );
}

#[test]
fn a_missing_file_is_no_error_and_a_broken_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    assert_eq!(find(&[missing], "h", "r").unwrap(), None);
    let twice = auth_file(directory.path(), r#"{"auths":{"h":{},"h":{}}}"#);
    assert!(matches!(
        find(&[twice], "h", "r"),
        Err(CredentialsError::Parse(..))
    ));
    let garbled = auth_file(directory.path(), r#"{"auths":{"h":{"auth":"%%%"}}}"#);
    assert!(matches!(
        find(&[garbled], "h", "r"),
        Err(CredentialsError::Entry(..))
    ));
}

#[test]
fn an_explicit_file_hides_the_others() {
    let lookup = |explicit: &'static str| {
        move |name: &str| match name {
            "REGISTRY_AUTH_FILE" => Some(OsString::from(explicit)),
            "HOME" => Some("/home/u".into()),
            "XDG_RUNTIME_DIR" => Some("relative".into()),
            _ => None,
        }
    };
    assert_eq!(files(lookup("x.json")), [PathBuf::from("x.json")]);
    assert_eq!(
        files(lookup("")),
        [
            PathBuf::from("/home/u/.config/containers/auth.json"),
            PathBuf::from("/home/u/.docker/config.json")
        ]
    );
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let secret = Credential::Password {
        user: "u".into(),
        password: "hunter2".into(),
    };
    assert_eq!(format!("{secret:?}"), "Password");
    let login = Login {
        credential: secret,
        origin: "/auth.json".to_owned(),
    };
    assert!(!format!("{login} {login:?}").contains("hunter2"));
}

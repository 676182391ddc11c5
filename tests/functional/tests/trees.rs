//! The root that an app sees is the image's: compared, file by file, with what `umoci unpack` makes of the same image.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use functional::{Env, Run, User, debian_layout, missing_program, skip};
use serde_json::Value;

/// Prints every file of `/` on its own file system as JSON: type, mode, owner, size, target, attributes, digest. Run by
/// the image's own Python, in the pod and in a chroot.
const LIST: &str = r#"
import hashlib, json, os, stat
top = os.lstat("/").st_dev
found = {}
skip = {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev", "/proc", "/sys", "/run"}
def look(path):
    if path in skip:
        return
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    entry = {"type": kind, "mode": oct(stat.S_IMODE(info.st_mode)), "uid": info.st_uid, "gid": info.st_gid}
    if kind == stat.S_IFREG:
        digest = hashlib.sha256(open(path, "rb").read()).hexdigest() if os.access(path, os.R_OK) else "unreadable"
        entry.update(size=info.st_size, links=info.st_nlink, sha256=digest, mtime=int(info.st_mtime))
    if kind == stat.S_IFLNK:
        entry["target"] = os.readlink(path)
    attributes = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if not name.startswith(("user.overlay.", "trusted.", "user.rootlesscontainers", "security.selinux")):
            attributes[name] = os.getxattr(path, name, follow_symlinks=False).hex()
    entry["xattrs"] = attributes
    found[path.encode("utf-8", "surrogateescape").hex()] = entry
    if kind == stat.S_IFDIR and info.st_dev == top:
        for name in os.listdir(path):
            look(os.path.join(path, name))
look("/")
print(json.dumps(found))
"#;

fn listing(run: &Run) -> BTreeMap<String, Value> {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}\n{}", run.report()))
}

/// What `umoci unpack` makes of the image, listed in a chroot.
fn by_umoci(layout: &Path) -> BTreeMap<String, Value> {
    let directory = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let bundle = directory.path().join("bundle");
    let mut unpack = Command::new("umoci");
    unpack
        .args(["unpack", "--image"])
        .arg(format!("{}:debian", layout.display()))
        .arg(&bundle);
    Run::of(unpack).success();
    let mut list = Command::new("chroot");
    list.arg(bundle.join("rootfs"))
        .args(["/usr/bin/python3", "-B", "-c", LIST]);
    listing(&Run::of(list).success())
}

fn by_skua(layout: &Path, user: User) -> BTreeMap<String, Value> {
    let env = Env::new(user);
    let image = format!("oci:{}:debian", layout.display());
    let words = [
        "--insecure-options=image",
        "run",
        "--net=none",
        &image,
        "--",
    ];
    let python = ["/usr/bin/python3", "-B", "-c", LIST];
    listing(&env.skua(&[&words[..], &python].concat()).success())
}

/// Names in hex are shown as text.
fn shown(name: &str) -> String {
    let bytes: Vec<u8> = (0..name.len() / 2)
        .filter_map(|at| u8::from_str_radix(&name[2 * at..2 * at + 2], 16).ok())
        .collect();
    bytes.escape_ascii().to_string()
}

/// Differences, after `same` has removed what this kind of user cannot have.
fn compare(
    expected: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
    same: impl Fn(&Value) -> Value,
) {
    assert!(expected.len() > 5000, "only {} files", expected.len());
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let different: Vec<String> = names
        .into_iter()
        .filter(|name| expected.get(*name).map(&same) != found.get(*name).map(&same))
        .map(|name| {
            let (by_umoci, by_skua) = (expected.get(name), found.get(name));
            format!("{}\n  umoci {by_umoci:?}\n  skua  {by_skua:?}", shown(name))
        })
        .collect();
    assert!(
        different.is_empty(),
        "{} files differ:\n{}",
        different.len(),
        different[..different.len().min(20)].join("\n")
    );
}

#[test]
fn privileged_the_root_of_an_app_is_what_umoci_unpacks() {
    let test = "privileged_the_root_of_an_app";
    let (Some(root), Some(layout)) = (User::root(test), debian_layout(test)) else {
        return;
    };
    if let Some(program) = missing_program(&["umoci", "chroot"]) {
        return skip(test, &format!("{program} is not installed"));
    }
    let expected = by_umoci(&layout);
    compare(&expected, &by_skua(&layout, root), Value::clone);
    // Subordinate ids hold every owner of this image; the file capability is bound to the user namespace.
    compare(
        &expected,
        &by_skua(&layout, User::Subordinate),
        Value::clone,
    );
    // One id only: all files are the caller's, and no owner means no setuid bit that would mean anything.
    compare(&expected, &by_skua(&layout, User::Single), |entry| {
        let mut entry = entry.clone();
        for key in ["uid", "gid", "xattrs"] {
            entry[key] = Value::Null;
        }
        entry
    });
}

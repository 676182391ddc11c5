//! Users and groups of an app, and files of an image that lie about them.

use serde_json::json;

use crate::fixture::{Pod, app, skip_reason};

/// Runs `id` as a user; standard output, or standard error when that failed.
fn id(user: &str, prepare: &str) -> String {
    let mut pod = Pod::new(&[app("a", &["id"])]);
    pod.apps[0]["user"] = json!(user);
    prepare.clone_into(&mut pod.prepare);
    let end = pod.run();
    if end.code == 0 {
        end.stdout
    } else {
        assert_eq!(
            (end.code, end.stdout.as_str()),
            (254, ""),
            "{user}: {}",
            end.stderr
        );
        end.stderr
    }
}

#[test]
fn a_user_is_a_number_or_a_name_of_the_image() {
    if skip_reason("a_user_is_a_number_or_a_name_of_the_image") {
        return;
    }
    for (user, expected) in [
        ("", "uid=0(root) gid=0(root)"),
        ("root", "uid=0(root) gid=0(root)"),
        ("www", "uid=33(www) gid=34(www)"),
        ("33", "uid=33(www) gid=34(www)"),
        ("77", "uid=77 gid=0(root)"),
    ] {
        assert!(
            id(user, "").starts_with(expected),
            "{user}: {}",
            id(user, "")
        );
    }
}

#[test]
fn nothing_that_is_not_a_small_number_becomes_user_0() {
    if skip_reason("nothing_that_is_not_a_small_number_becomes_user_0") {
        return;
    }
    let traps = "printf '1000:x:0:0::/:\\n-1:x:0:0::/:\\n4294967296:x:0:0::/:\\nempty:x:::/:\\n' >> etc/passwd";
    for (user, complaint) in [
        ("4294967296", "is not an id below 2147483648"),
        ("4294967295", "is not an id below 2147483648"),
        ("2147483648", "is not an id below 2147483648"),
        ("-1", "is not an id below 2147483648"),
        ("+0", "is not an id below 2147483648"),
        ("over", "has no valid id"),
        ("empty", "has no valid id"),
        ("nobody", "no user 'nobody'"),
        ("0x0", "no user '0x0'"),
        (" 0", "no user ' 0'"),
        ("root:0", "no user 'root:0'"),
    ] {
        let found = id(user, traps);
        assert!(found.contains(complaint), "{user}: {found}");
    }
    // A name that looks like a number is one, whatever the image's file says.
    assert!(id("1000", traps).starts_with("uid=1000 "));
}

#[test]
fn hostile_passwd_files_end_the_start_and_not_the_runtime() {
    if skip_reason("hostile_passwd_files_end_the_start_and_not_the_runtime") {
        return;
    }
    for (prepare, complaint) in [
        ("rm etc/passwd; mkfifo etc/passwd", "is not a regular file"),
        (
            "rm etc/passwd; ln -s group etc/passwd",
            "is a symbolic link",
        ),
        (
            "rm etc/passwd; ln -s /proc/self/environ etc/passwd",
            "is a symbolic link",
        ),
        ("rm etc/passwd; mkdir etc/passwd", "is not a regular file"),
        ("mkdir d; rm -r etc; ln -s d etc", "no user 'www'"),
        ("truncate -s 2M etc/passwd", "is longer than 1 MiB"),
        ("truncate -s 200G etc/passwd", "is longer than 1 MiB"),
        (
            "head -c 70000 /dev/zero | tr '\\0' a >> etc/passwd",
            "has a line longer than 64 KiB",
        ),
        ("rm etc/passwd", "no user 'www'"),
    ] {
        let found = id("www", prepare);
        assert!(found.contains(complaint), "{prepare}: {found}");
    }
    // User 0 needs no entry, so an odd file does not matter to it.
    let mut pod = Pod::new(&[app("a", &["echo", "executed"])]);
    "rm etc/passwd; mkfifo etc/passwd".clone_into(&mut pod.prepare);
    assert_eq!(pod.run().stdout, "executed\n");
}

#[test]
fn another_user_of_a_map_of_one_gets_a_namespace_of_its_own_and_no_capability() {
    if skip_reason("another_user_of_a_map_of_one_gets_a_namespace_of_its_own_and_no_capability") {
        return;
    }
    let show = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status";
    let mut pod = Pod::new(&[app("a", &["sh", "-c", show])]);
    pod.apps[0]["user"] = json!("www");
    let end = pod.run();
    let words: Vec<&str> = end.stdout.split_whitespace().collect();
    assert_eq!(
        words[..7],
        ["33", "0", "1", "34", "0", "1", "deny"],
        "{end:?}"
    );
    assert!(
        words[7..]
            .iter()
            .all(|w| w.starts_with("Cap") || *w == "0000000000000000"),
        "{end:?}"
    );
}

#[test]
fn supplementary_groups_need_a_larger_map() {
    if skip_reason("supplementary_groups_need_a_larger_map") {
        return;
    }
    let mut pod = Pod::new(&[app("a", &["id"])]);
    pod.apps[0]["supplementary_groups"] = json!(["adm"]);
    let end = pod.run();
    assert!(end.stderr.contains("/etc/subuid"), "{end:?}");
    assert_eq!(end.code, 254);
}

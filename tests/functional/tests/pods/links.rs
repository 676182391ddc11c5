//! A data directory may be a symbolic link; what is in it may not, or stage1 would take another one for it.

use std::fs;
use std::os::unix::fs::symlink;

use functional::User;

use super::Lab;

const UUID: &str = "64108884-3b63-4221-8cfc-57c24e315c82";

#[test]
fn a_link_in_the_place_of_pods_is_refused_by_the_first_command() {
    for user in User::all() {
        let lab = Lab::new(user);
        let elsewhere = lab.env.scratch("elsewhere");
        for link in ["pods", "pods/run"] {
            let link = lab.env.data().join(link);
            fs::create_dir_all(&elsewhere).expect("a directory");
            let _ = fs::remove_file(lab.env.data().join("pods"));
            fs::create_dir_all(link.parent().expect("it has one")).expect("a directory");
            symlink(&elsewhere, &link).expect("a link");
            lab.env.give(&lab.env.scratch("elsewhere"));
            if link.ends_with("run") {
                lab.env.give(link.parent().expect("it has one"));
            }
            let path = link.to_str().expect("text");
            let parts = [path, "is a symbolic link"];
            for command in [&["run"][..], &["prepare"], &["run", "--name=p"]] {
                let run = lab.pod(command, &["exit", "0"]).fails(&parts);
                run.complains("--data-dir");
            }
            for words in [&["list"][..], &["gc"], &["image", "gc"], &["rm", UUID]] {
                lab.skua(words).fails(&parts);
            }
            let left = fs::read_dir(&elsewhere).expect("a directory").count();
            assert_eq!(left, 0, "{user:?}: nothing is made through it");
        }
    }
}

#[test]
fn a_data_directory_may_be_a_link() {
    for user in User::all() {
        let lab = Lab::new(user);
        let elsewhere = lab.env.scratch("elsewhere");
        fs::rename(lab.env.data(), &elsewhere).expect("move");
        symlink(&elsewhere, lab.env.data()).expect("a link");
        lab.pod(&["run"], &["exit", "3"]).exits(3);
        let id = lab.pod(&["prepare"], &["exit", "4"]).success();
        let id = id.stdout.trim();
        lab.skua(&["run-prepared", id]).exits(4);
        lab.skua(&["rm", id]).success();
        lab.skua(&["gc", "--grace-period=0"]).success();
        assert!(lab.list().is_empty());
    }
}

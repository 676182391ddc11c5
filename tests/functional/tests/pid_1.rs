//! Pid 1 is user 0 of the pod, and so is many an app: what the kernel lets equals do to each other is none of an app's business.
//! Traces, memory and signals are in `confinement.rs`, `traced.rs` and `signals.rs`.

use functional::{Env, Image, Run, User};

/// Asks an app of user 0 with these exceptions and flags.
fn ask(env: &Env, options: &str, flags: &[&str], question: &[&str]) -> Run {
    let name = env.layout(&Image::inspect().build());
    let options = format!("--insecure-options=image{options}");
    let start = [&options, "run", "--net=none", &name];
    env.skua(&[&start[..], flags, &["--"], question].concat())
}

/// Seconds of a processor, size of files, number of open files.
const RESOURCES: [&str; 3] = ["0", "1", "7"];
const NO_CAPABILITY: &[&str] = &["--cap-retain=none"];

fn limits_are_its_own(user: User, options: &str, filter: &[&str]) {
    let env = Env::new(user);
    for flags in [NO_CAPABILITY, &[]] {
        let flags = &[flags, filter].concat();
        for resource in RESOURCES {
            let run = ask(&env, options, flags, &["limit", "1", resource, "1"]).success();
            assert_eq!(run.json()["errno"], "EPERM", "{}", run.report());
        }
        // An app that cannot have children with limits would be of little use.
        let run = ask(&env, options, flags, &["limit", "0", "7", "16"]).success();
        assert_eq!(run.json()["ok"], true, "{}", run.report());
    }
}

#[test]
fn an_app_cannot_change_the_limits_of_pid_1() {
    for user in User::all() {
        limits_are_its_own(user, "", &[]);
    }
}

/// Who has no second group has the filter alone.
#[test]
fn an_app_without_a_filter_cannot_change_the_limits_of_a_pid_1_with_more_than_one_id() {
    for user in User::all() {
        let maps = ask(&Env::new(user), "", &[], &["maps"]).success().json();
        let groups = maps["gids"].as_array().expect("a map").iter();
        if groups.map(|extent| extent[2].as_u64()).sum::<Option<u64>>() > Some(1) {
            limits_are_its_own(user, ",seccomp", &["--seccomp=unconfined"]);
        }
    }
}

#[test]
fn an_app_cannot_make_pid_1_the_first_to_die_when_memory_is_used_up() {
    for user in User::all() {
        let env = Env::new(user);
        for file in ["oom_score_adj", "oom_adj", "task/1/oom_score_adj"] {
            let file = format!("/proc/1/{file}");
            let run = ask(&env, "", &[], &["write", &file, "1"]).success();
            assert_eq!(run.json()["errno"], "EROFS", "{}", run.report());
        }
        // Its own life is an app's to offer.
        let file = "/proc/self/oom_score_adj";
        let run = ask(&env, "", &[], &["write", file, "1000"]).success();
        assert_eq!(run.json()["ok"], true, "{}", run.report());
    }
}

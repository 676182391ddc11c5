//! `skua enter` into a pod whose only app may mount. It has the mounts of pid 1, so what enters finds what the app has put there
//! instead: it is refused, or is confined as ever and has nothing but what the app has already.

use functional::{Background, Env, Image, Layer, Run, User};
use serde_json::{Value, json};

/// A pod whose app has rearranged its mounts, and runs until it is told to end.
struct Lab {
    env: Env,
    pod: Option<Background>,
}

/// `/own` is a place for what the app makes, `/decoy` one for what looks like a `/proc`.
fn image() -> Image {
    let layer = Layer::new().directory("own").directory("decoy/self");
    Image::inspect().layer(layer)
}

impl Lab {
    fn new(user: User, flags: &[&str], steps: &[&str]) -> Self {
        let env = Env::new(user);
        let name = env.layout(&image().build());
        let start = ["--insecure-options=image", "run", "--net=none", "--name=p"];
        let app = [name.as_str(), "--cap-add=CAP_SYS_ADMIN"];
        let words = ["--", "rearrange"];
        let mut pod = env.spawn(&[&start[..], &app, flags, &words, steps].concat());
        pod.prints("ready");
        Self {
            env,
            pod: Some(pod),
        }
    }

    fn enter(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["enter", "p", "--", "/inspect"], words].concat())
    }

    /// From a terminal.
    fn enter_by_terminal(&self, words: &[&str]) -> Run {
        let typed = [&["enter", "p", "--", "/inspect"], words].concat();
        let typed = self.env.command(&typed);
        let words: Vec<String> = std::iter::once(typed.get_program())
            .chain(typed.get_args())
            .map(|word| format!("'{}'", word.to_str().expect("UTF-8")))
            .collect();
        let mut command = self.env.program("script");
        command.args(["-qec", &words.join(" "), "/dev/null"]);
        Run::of(command)
    }

    fn ask(&self, words: &[&str]) -> Value {
        self.enter(words).success().json()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(pod) = self.pod.take() {
            pod.signal(nix::sys::signal::Signal::SIGTERM);
            if !std::thread::panicking() {
                pod.wait().success();
            }
        }
    }
}

#[test]
fn a_proc_that_the_app_has_replaced_is_not_believed() {
    // All that stage2 reads there, and as it wants it.
    let decoy = [
        "copy /proc/self/uid_map /decoy/self/uid_map",
        "copy /proc/self/gid_map /decoy/self/gid_map",
        "copy /proc/self/mountinfo /decoy/self/mountinfo",
        "copy /proc/self/status /decoy/self/status",
        "bind /decoy /proc",
    ];
    for user in User::all() {
        for (steps, part) in [
            (&["tmpfs /proc"][..], "is not a proc file system"),
            (&decoy, "is not a proc file system"),
            // Of the right file system, but not its root.
            (&["bind /proc/3 /proc"], "self/uid_map"),
            (&["bind /proc/sys /proc"], "self/uid_map"),
            // What is read-only or hidden there is so by mounts.
            (&["unmount /proc/sys"], "the mount on /proc/sys"),
            (&["unmount /proc"], "/proc"),
        ] {
            let lab = Lab::new(user, &[], steps);
            let run = lab.enter(&["print", "executed"]).fails(&[part]);
            assert_eq!(run.stdout, "", "{user:?} {steps:?}: {}", run.report());
        }
    }
}

#[test]
fn a_root_that_the_app_has_replaced_is_entered_with_the_app_s_confinement_or_not_at_all() {
    let moved = [
        "bind /proc /own/proc",
        "bind /sys /own/sys",
        "bind /dev /own/dev",
        "root /own",
    ];
    for user in User::all() {
        let plain = Lab::new(user, &[], &[]);
        let expected = plain.ask(&["status"]);
        let tmpfs = [
            "tmpfs /own",
            "mkdir /own/proc",
            "mkdir /own/sys",
            "mkdir /own/dev",
        ];
        let lab = Lab::new(user, &[], &[&tmpfs[..], &moved].concat());
        let run = lab.enter(&["print", "executed"]).fails(&["the mount on /"]);
        assert_eq!(run.stdout, "", "{user:?}: {}", run.report());
        // An overlay as the plan has one, made by the app: it is entered, as if the app had changed its own files.
        let overlay = [
            "tmpfs /tmp",
            "mkdir /tmp/upper",
            "mkdir /tmp/work",
            "overlay / /tmp/upper /tmp/work /own",
        ];
        let lab = Lab::new(user, &[], &[&overlay[..], &moved].concat());
        let found = lab.ask(&["status"]);
        for (field, value) in expected.as_object().expect("fields") {
            if field.starts_with("Cap")
                || ["NoNewPrivs", "Seccomp", "Uid", "Gid"].contains(&field.as_str())
            {
                assert_eq!(found.get(field), Some(value), "{user:?} {field}");
            }
        }
        assert_eq!(
            lab.ask(&["list", "/own/../.."]),
            lab.ask(&["list", "/"]),
            "{user:?}"
        );
    }
}

#[test]
fn a_terminal_that_the_app_has_replaced_is_refused_and_not_waited_for() {
    for user in User::all() {
        let dev = ["tmpfs /dev", "mkdir /dev/pts"];
        for fake in [
            "mkfifo /dev/pts/ptmx",
            "write /dev/pts/ptmx x",
            "symlink /proc/self/fd/0 /dev/pts/ptmx",
        ] {
            let lab = Lab::new(user, &[], &[&dev[..], &[fake]].concat());
            let run = lab.enter_by_terminal(&["print", "executed"]).exits(254);
            assert!(!run.stdout.contains("executed"), "{}", run.report());
        }
    }
}

#[test]
fn names_that_the_app_has_replaced_give_what_enters_no_other_user() {
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let flags = ["--user=app", "--ambient"];
        let steps = [
            "write /tmp/passwd app:x:0:0:app:/:/inspect\n",
            "bind /tmp/passwd /etc/passwd",
        ];
        let lab = Lab::new(user, &flags, &steps);
        let found = lab.ask(&["id"]);
        assert_eq!(found["uid"], json!([1000, 1000, 1000]), "{user:?}");
        assert_eq!(found["gid"], json!([1000, 1000, 1000]), "{user:?}");
        assert_eq!(found["groups"], json!([2000]), "{user:?}");
    }
}

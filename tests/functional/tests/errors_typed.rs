//! What a user is told who types what other launchers know, or what is known here in another place.

use functional::{Env, User};

fn env() -> Env {
    Env::new(User::ordinary())
}

#[test]
fn words_of_other_launchers_are_told_what_does_it_here() {
    let env = env();
    for (word, here) in [
        ("ps", "'skua list'"),
        ("pull", "'skua fetch IMAGE'"),
        ("exec", "'skua enter POD -- PROGRAM'"),
        ("logs", "journalctl -u UNIT"),
        ("rmi", "'skua image rm IMAGE'"),
        ("push", "skopeo"),
        ("restart", "'systemctl restart UNIT'"),
        ("pause", "'systemctl freeze UNIT'"),
        ("unpause", "'systemctl thaw UNIT'"),
        ("help", "skua COMMAND --help"),
        ("top", "systemd-cgtop"),
        ("wait", "'skua status --wait POD'"),
        ("attach", "in the foreground"),
        ("cp", "'skua image extract IMAGE'"),
        ("load", "docker-archive:FILE"),
        ("save", "'skua image export IMAGE'"),
        ("login", "'podman login'"),
        ("network", "'skua config'"),
        ("volume", "--volume of 'skua run'"),
        ("info", "'skua doctor'"),
        ("pod", "'skua list'"),
        ("tag", "'skua fetch --as NAME'"),
        ("secret", "--credential of 'skua run'"),
    ] {
        let run = env.skua(&[word, "x"]).fails(&[word]);
        run.complains(here);
    }
    // Elsewhere such a word means something else.
    let run = env.skua(&["trust", "ps"]).fails(&["'ps'"]);
    assert!(!run.stderr.contains("pods"), "{}", run.report());
    env.skua(&["image", "rm", "example.org/a:1"])
        .fails(&["not in the store"])
        .complains("hint: 'skua image list'");
}

#[test]
fn flags_of_other_launchers_are_told_what_does_it_here() {
    let env = env();
    for (flag, here) in [
        ("--detach", "systemd-run skua run"),
        ("-d", "systemd-run skua run"),
        ("-t", "-i before the image"),
        ("--entrypoint", "--exec PROGRAM, after the image"),
        ("--env", "--environment NAME=VALUE, after the image"),
        ("--env-file", "EnvironmentFile= of a unit"),
        ("--cap-drop", "--cap-remove, after the image"),
        ("--tmpfs", "--volume NAME,kind=tmpfs before the image"),
        ("--privileged", "no pod has all rights"),
        ("--restart", "Restart= of a systemd unit"),
        ("--add-host", "--volume ./hosts:/etc/hosts:ro"),
        ("--dns", "--volume ./resolv.conf:/etc/resolv.conf:ro"),
        ("--init", "pid 1 of every pod is skua's own"),
        ("--pid", "the apps of a pod share these namespaces"),
        ("--cidfile", "--uuid-file-save FILE, before the image"),
    ] {
        for words in [
            ["run", flag, "example.org/a"],
            ["run", "example.org/a", flag],
        ] {
            env.skua(&words)
                .fails(&[&format!("unexpected argument '{flag}'")])
                .complains("hint: ")
                .complains(here);
        }
    }
    // After the image it is known by this name too.
    env.skua(&["run", "--ulimit=nofile=9", "example.org/a"])
        .fails(&["unexpected argument '--ulimit'"])
        .complains("hint: --rlimit NAME=SOFT[:HARD], after the image");
    // Elsewhere such a flag means nothing.
    let run = env.skua(&["list", "--tty"]).fails(&["'--tty'"]);
    assert!(!run.stderr.contains("terminal"), "{}", run.report());
}

#[test]
fn what_stands_in_the_wrong_place_is_told_where_it_belongs() {
    let env = env();
    let skua = "is a flag of skua itself: it stands before the command";
    let pod = "is a flag of the pod: it stands before the first image";
    let app = "is a flag of an app: it stands after the image";
    let image = "example.org/a";
    for (words, argument, where_to) in [
        (
            &["run", "--insecure-options=image", image][..],
            "--insecure-options",
            skua,
        ),
        (&["run", image, "--debug"], "--debug", skua),
        (&["list", "--quiet"], "--quiet", skua),
        (&["image", "list", "--data-dir=/x"], "--data-dir", skua),
        (&["run", image, "--net=host"], "--net", pod),
        (&["prepare", image, "--rm"], "--rm", pod),
        (&["run", image, "-p", "80:80"], "-p", pod),
        (
            &["run", image, "---", image, "--no-die-with-parent"],
            "--no-die-with-parent",
            pod,
        ),
        (&["explain", image, "--format=json"], "--format", pod),
        (&["run", "--user=app", image], "--user", app),
        (&["explain", "-e", "A=b", image], "-e", app),
    ] {
        env.skua(words)
            .fails(&[argument])
            .complains(&format!("hint: {argument} {where_to}\n"));
    }
    env.skua(&["run", image, "sh", "-c", "exit 0"])
        .fails(&["'sh'"])
        .complains("hint: arguments of an app stand after '--'");
    env.skua(&["run", "---", image])
        .fails(&["there is no image before '---'"]);
}

#[test]
fn a_volume_in_the_wrong_form_is_told_where_it_belongs() {
    let env = env();
    let image = "example.org/a";
    for (words, said) in [
        (
            ["run", "--volume=/srv:/data", image],
            "SOURCE:TARGET, for one app, stands after its image",
        ),
        (
            ["run", image, "--volume=data,kind=empty"],
            "a volume of the pod stands before the first image",
        ),
        (
            ["run", image, "--mount=type=bind,source=/srv,target=/data"],
            "is mounted with --volume SOURCE:TARGET",
        ),
        (
            ["run", image, "--volume=/srv:/data:ro,rw"],
            "it cannot be both ro and rw",
        ),
        (
            ["run", image, "--volume=/srv:/data:Z"],
            "skua changes neither labels nor owners",
        ),
    ] {
        env.skua(&words).fails(&[said]);
    }
}

#[test]
fn what_enter_does_not_take_is_told_what_does_it_there() {
    let env = env();
    for (words, said) in [
        (&["enter", "web", "id", "-u"][..], "stand after '--'"),
        (&["enter", "--name=web", "id"], "stands after '--'"),
        (&["enter", "-it", "web"], "without a flag"),
        (&["enter", "web", "--user=app"], "the user that the app is"),
        (&["enter", "-eA=b", "web"], "-- env NAME=VALUE PROGRAM"),
        (&["enter", "--workdir", "/", "web"], "`-- sh -c 'cd DIR"),
    ] {
        env.skua(words)
            .exits(254)
            .complains("hint: ")
            .complains(said);
    }
    // As everywhere.
    env.skua(&["enter", "web", "--debug"])
        .exits(254)
        .complains("stands before the command");
}

#[test]
fn a_name_of_no_image_is_told_what_is_wrong_with_it() {
    let env = env();
    for (name, said) in [
        ("", "image name is empty"),
        ("docker://", "image name is empty"),
        ("dir:/srv/image", "unknown transport"),
        ("docker-daemon:team/app", "unknown transport"),
        ("Registry.example/app", "a name in lower case"),
    ] {
        env.skua(&["fetch", name]).fails(&[said]);
        env.skua(&["run", name]).fails(&[said]);
    }
}

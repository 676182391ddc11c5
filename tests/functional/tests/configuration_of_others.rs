//! Configuration that is not what it seems: links that lead nowhere, files that another user could have written, and broken ones
//! that must not be taken for absent.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use functional::{Env, Image, Run, User};

/// Who is neither root nor any caller of these tests.
const STRANGER: u32 = 54321;

struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        Self { env, image }
    }

    /// A file of the configuration, as its owner's and writable by nobody else.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.env.config().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("write");
        mode(&path, 0o644);
        self.env.give(&self.env.config());
        path
    }

    fn run(&self, flags: &[&str]) -> Run {
        let run = ["--insecure-options=image", "run", "--rm"];
        let app = [self.image.as_str(), "--", "exit", "7"];
        self.env.skua(&[&run[..], flags, &app].concat())
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A network that is built in, and can be had by this user.
fn built_in(user: User) -> (&'static str, String) {
    let name = if user.is_root() { "default" } else { "pasta" };
    (name, format!("--net={name}"))
}

#[test]
fn a_broken_conflist_is_never_taken_for_a_built_in_network() {
    for user in User::all() {
        let lab = Lab::new(user);
        let (name, net) = built_in(user);
        let text = format!("{{\"cniVersion\": \"1.0.0\", \"name\": \"{name}\",, \"plugins\": []}}");
        let site = lab.write("net.d/site.conflist", &text);
        lab.run(&[&net]).fails(&["site.conflist"]);
        lab.run(&["--net=none"]).exits(7);
        fs::remove_file(site).expect("remove");
        let own = format!("net.d/{name}.conflist");
        let path = lab.write(&own, "");
        lab.run(&[&net]).fails(&[&own, "is empty"]);
        fs::remove_file(&path).expect("remove");
        fs::create_dir(&path).expect("a directory");
        lab.run(&[&net]).fails(&[&own, "not a regular file"]);
        fs::remove_dir(&path).expect("remove");
        symlink("gone", &path).expect("a link");
        lab.run(&[&net]).fails(&[&own]);
    }
}

#[test]
fn configuration_that_is_a_link_to_nothing_is_an_error_and_not_absent() {
    for user in User::all() {
        let lab = Lab::new(user);
        for name in ["policy.toml", "config.toml"] {
            let path = lab.env.config().join(name);
            symlink("gone", &path).expect("a link");
            lab.run(&[]).fails(&[name, "link to what is not there"]);
            fs::remove_file(path).expect("remove");
        }
        lab.run(&[]).exits(7);
        let shared = lab.env.config().join("containers");
        fs::create_dir(&shared).expect("a directory");
        symlink("gone", shared.join("registries.conf")).expect("a link");
        let fetch = ["--insecure-options=image", "fetch", "localhost:1/x:1"];
        lab.env
            .skua(&fetch)
            .fails(&["registries.conf", "link to what is not there"]);
        fs::remove_file(shared.join("registries.conf")).expect("remove");
        symlink("gone", shared.join("registries.conf.d")).expect("a link");
        lab.env.skua(&fetch).fails(&["registries.conf.d"]);
        for (name, words) in [
            ("trust.d", &["trust", "list"][..]),
            ("net.d", &["config"][..]),
        ] {
            fs::remove_dir_all(&shared).ok();
            let path = lab.env.config().join(name);
            symlink("gone", &path).expect("a link");
            lab.env.skua(words).fails(&[name]);
            fs::remove_file(path).expect("remove");
        }
    }
}

#[test]
fn files_that_say_what_is_executed_are_refused_when_others_could_have_written_them() {
    for user in User::all() {
        let lab = Lab::new(user);
        let (name, net) = built_in(user);
        let list = format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"{name}\", \"plugins\": [{{\"type\": \"nothing\"}}]}}"
        );
        for (file, text, flags) in [
            ("config.toml", "cni-path = [\"/x\"]\n", &[][..]),
            ("net.d/site.conflist", &list, &[net.as_str()]),
        ] {
            let path = lab.write(file, text);
            for bits in [0o664, 0o646] {
                mode(&path, bits);
                lab.run(flags).fails(&[file, "lets others write it"]);
            }
            fs::remove_file(path).expect("remove");
        }
        let directory = lab.env.config().join("net.d");
        mode(&directory, 0o1777);
        lab.run(&[&net]).fails(&["net.d", "lets others write it"]);
    }
}

#[test]
fn privileged_files_that_say_what_is_executed_are_refused_when_another_user_has_them() {
    let test = "privileged_files_that_say_what_is_executed_are_refused_when_another_user_has_them";
    let Some(root) = User::root(test) else {
        return;
    };
    let lab = Lab::new(root);
    let list = "{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{\"type\": \"x\"}]}";
    for (file, text, flags) in [
        ("config.toml", "cni-path = [\"/x\"]\n", &[][..]),
        ("net.d/site.conflist", list, &["--net=n"]),
    ] {
        let path = lab.write(file, text);
        chown(&path, Some(STRANGER), None).expect("chown");
        lab.run(flags).fails(&[file, "belongs to user 54321"]);
        fs::remove_file(path).expect("remove");
    }
    let path = lab.write("net.d/site.conflist", list);
    let prepare = ["--insecure-options=image", "prepare", "--net=n", &lab.image];
    let uuid = lab.env.skua(&prepare).success().stdout;
    mode(&path, 0o666);
    // stage1 reads it again.
    lab.env
        .skua(&["--insecure-options=image", "run-prepared", uuid.trim()])
        .fails(&["site.conflist", "could have written it"]);
}

#[test]
fn no_helper_is_run_that_a_file_names_which_others_could_have_written() {
    for user in User::all() {
        let lab = Lab::new(user);
        let ran = lab.env.scratch("ran");
        let helper = lab.env.write(
            "docker-credential-spy",
            format!("#!/bin/sh\necho x >{}\nexit 1\n", ran.display()),
        );
        mode(&helper, 0o755);
        let fetch = || {
            let words = ["--insecure-options=image", "fetch", "localhost:1/x:1"];
            let mut command = lab.env.command(&words);
            let path = format!("{}:/usr/bin:/bin", lab.env.scratch("").display());
            command.env("PATH", path);
            command.env("REGISTRY_AUTH_FILE", lab.env.scratch("auth.json"));
            Run::of(command)
        };
        let helpers = "credential-helpers = [\"spy\"]\n";
        for (auth, registries) in [
            ("{\"credHelpers\": {\"localhost:1\": \"spy\"}}", ""),
            ("{\"credsStore\": \"spy\"}", ""),
            ("{}", helpers),
        ] {
            let auth = lab.env.write("auth.json", auth);
            let conf = lab.write("containers/registries.conf", registries);
            fetch().fails(&["docker-credential-spy"]);
            fs::remove_file(&ran).expect("the helper ran");
            for path in [&auth, &conf] {
                mode(path, 0o666);
            }
            let file = if registries.is_empty() { &auth } else { &conf };
            let file = file.file_name().expect("a name").to_string_lossy();
            fetch().fails(&[&file, "refusing", "lets others write it"]);
            assert!(!ran.exists(), "the helper ran all the same");
        }
        // Passwords are another matter: whoever wrote them gave away their own.
        lab.write("containers/registries.conf", "");
        let path = lab.env.write(
            "auth.json",
            "{\"auths\": {\"localhost:1\": {\"auth\": \"dTpw\"}}}",
        );
        mode(&path, 0o666);
        let run = fetch().exits(254);
        assert!(!run.stderr.contains("auth.json"), "{}", run.report());
    }
}

/// Root executes it, also one that another plugin calls for addresses.
#[test]
fn privileged_no_plugin_is_executed_that_others_could_have_written() {
    let test = "privileged_no_plugin_is_executed_that_others_could_have_written";
    let Some(root) = User::root(test) else {
        return;
    };
    let lab = Lab::new(root);
    let ran = lab.env.scratch("ran");
    let directory = lab.env.scratch("plugins");
    fs::create_dir(&directory).expect("a directory");
    mode(&directory, 0o755);
    for name in ["spy", "ipam"] {
        let script = format!("#!/bin/sh\necho x >{}\nexit 1\n", ran.display());
        mode(&lab.env.write(&format!("plugins/{name}"), script), 0o755);
    }
    let list = r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "spy", "ipam": {"type": "ipam"}}]}"#;
    lab.write("net.d/n.conflist", list);
    let run = || {
        let words = ["--insecure-options=image", "run", "--rm", "--net=n"];
        let app = [lab.image.as_str(), "--", "exit", "7"];
        let mut command = lab.env.command(&[&words[..], &app].concat());
        command.env("CNI_PATH", &directory);
        Run::of(command)
    };
    let refusal = "others than root and the caller could have written";
    for path in [
        directory.clone(),
        directory.join("spy"),
        directory.join("ipam"),
    ] {
        let refusal = format!("{refusal} {}", path.display());
        for bits in [0o775, 0o757] {
            mode(&path, bits);
            run().fails(&[&refusal]).complains("chmod go-w");
        }
        mode(&path, 0o755);
        chown(&path, Some(STRANGER), None).expect("chown");
        run().fails(&[&refusal]);
        chown(&path, Some(0), None).expect("chown");
    }
    assert!(!ran.exists(), "a plugin ran all the same");
    run().fails(&["spy refused"]);
    fs::remove_file(&ran).expect("the plugin ran");
}

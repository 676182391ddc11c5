//! Files of configuration, keys and signatures that are no files: a fifo, a device and a file without an end are refused at
//! once. A pipe that the command line names is read, whoever writes it and when.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use functional::{Env, Image, Key, Registry, Run, User};

const INSECURE: &str = "--insecure-options=image";

/// What a file can be instead of one.
const KINDS: [&str; 3] = ["fifo", "device", "large"];

fn become_special(env: &Env, path: &Path, kind: &str) {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).unwrap();
    }
    match kind {
        "fifo" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        "device" => symlink("/dev/zero", path).unwrap(),
        _ => File::create(path).unwrap().set_len(1 << 40).unwrap(),
    }
    if kind != "device" {
        env.give(path);
    }
}

/// Every file that is found in a directory or named by a variable or by configuration, below the root of an [`Env`], and a
/// command that reads it. `@` stands for the whole path.
const FOUND: [(&str, &[&str], &str); 20] = [
    ("config/config.toml", &["config"], ""),
    ("config/policy.toml", &["config"], ""),
    ("config/trust.d/x.toml", &["trust", "list"], ""),
    (
        "config/net.d/x.conflist",
        &[INSECURE, "run", "--net=x", "IMAGE"],
        "",
    ),
    ("config/containers/registries.conf", FETCH, ""),
    ("config/containers/registries.conf.d/x.conf", FETCH, ""),
    (
        "config/containers/certs.d/registry.example/x.crt",
        FETCH,
        "",
    ),
    (
        "config/containers/certs.d/registry.example/x.cert",
        FETCH,
        "",
    ),
    (
        "config/containers/certs.d/registry.example/x.key",
        FETCH,
        "x.cert",
    ),
    ("home/run/containers/auth.json", FETCH, ""),
    ("home/.config/containers/auth.json", FETCH, ""),
    ("home/.docker/config.json", FETCH, ""),
    ("home/docker/config.json", FETCH, "DOCKER_CONFIG"),
    ("home/auth", FETCH, "REGISTRY_AUTH_FILE"),
    (
        "home/credentials/skua.auth.json",
        FETCH,
        "CREDENTIALS_DIRECTORY",
    ),
    ("home/registries", FETCH, "CONTAINERS_REGISTRIES_CONF"),
    ("home/authorities", FETCH, "SSL_CERT_FILE"),
    ("home/key", &["trust", "test", "IMAGE"], "scope"),
    ("home/policy-key", &["trust", "import", "POLICY"], "import"),
    (
        "home/profile",
        &[INSECURE, "run", "IMAGE", "--seccomp=@", "--", "exit", "0"],
        "",
    ),
];
const FETCH: &[&str] = &[INSECURE, "fetch", "registry.example/image:1"];

/// A real certificate is not needed: whether there is a certificate is asked before whether there is a key.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

/// What else the command needs; its variables.
fn surroundings(env: &Env, path: &Path, with: &str) -> Vec<(String, String)> {
    let text = path.to_str().unwrap();
    let config = |name: &str, content: &str| {
        let file = env.config().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        env.give(&env.config());
    };
    match with {
        "x.cert" => fs::write(path.with_file_name("x.cert"), CERTIFICATE).unwrap(),
        "scope" => {
            let scope =
                format!("[[scope]]\nprefix = \"*\"\nrule = \"signed\"\nkeys = [\"{text}\"]\n");
            config("trust.d/scope.toml", &scope);
        }
        "import" => {
            let policy = format!(
                r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{{"x.example":
                    [{{"type":"sigstoreSigned","keyPath":"{text}"}}]}}}}}}"#
            );
            env.write("policy.json", policy);
        }
        "" => {}
        "DOCKER_CONFIG" | "CREDENTIALS_DIRECTORY" => {
            let directory = path.parent().unwrap().to_str().unwrap();
            return vec![(with.to_owned(), directory.to_owned())];
        }
        variable => return vec![(variable.to_owned(), text.to_owned())],
    }
    Vec::new()
}

#[test]
fn what_is_found_must_be_a_small_regular_file() {
    for user in User::all() {
        let image = Image::inspect().build();
        for (file, words, with) in FOUND {
            let env = Env::new(user);
            let image = env.layout(&image);
            env.skua(&[INSECURE, "fetch", &image]).success();
            let path = env.home().parent().unwrap().join(file);
            for kind in KINDS {
                become_special(&env, &path, kind);
                let variables = surroundings(&env, &path, with);
                let policy = env.scratch("policy.json");
                let words: Vec<String> = words
                    .iter()
                    .map(|word| match *word {
                        "IMAGE" => image.clone(),
                        "POLICY" => policy.to_str().unwrap().to_owned(),
                        other => other.replace('@', path.to_str().unwrap()),
                    })
                    .collect();
                let all: Vec<&str> = words.iter().map(String::as_str).collect();
                let mut command = env.command(&all);
                command.envs(variables);
                let why = match kind {
                    "large" => "bytes",
                    _ => "regular file",
                };
                match file.starts_with("config/net.d") && !user.is_root() {
                    // Of no use to an ordinary user, who may look at it.
                    true => env.skua(&["config"]).success().says(why),
                    false => Run::of(command).fails(&[path.to_str().unwrap(), why]),
                };
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

/// Every file that a command line may name as a pipe.
const NAMED: [&[&str]; 6] = [
    &["trust", "add", "--prefix=x.example", "@"],
    &["trust", "rm", "--prefix=registry.example", "@"],
    &["trust", "import", "@"],
    &["status", "--uuid-file=@"],
    &["fetch", "--signature=@", "IMAGE"],
    &["run", "--locked=@", "IMAGE"],
];

#[test]
fn what_is_named_is_no_device_and_has_an_end_and_a_fifo_without_a_writer_is_empty() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        env.trust("registry.example", &Key::new(1));
        for words in NAMED {
            for kind in KINDS {
                let path = env.scratch("special");
                become_special(&env, &path, kind);
                let words: Vec<String> = words
                    .iter()
                    .map(|word| match *word {
                        "IMAGE" => image.clone(),
                        other => other.replace('@', path.to_str().unwrap()),
                    })
                    .collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let run = env.skua(&words);
                match kind {
                    "fifo" => run.fails(&[]),
                    "large" => run.fails(&[path.to_str().unwrap(), "bytes"]),
                    _ => run.fails(&[path.to_str().unwrap(), "nor a pipe"]),
                };
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

/// Runs skua with a pipe as its standard input, into which `content` is written after a while.
fn piped(env: &Env, words: &[&str], content: &Path) -> Run {
    let skua = env.command(words);
    // A pipe belongs to who makes it.
    let mut command = env.program("sh");
    command
        .args(["-c", "{ sleep 0.2; cat \"$0\"; } | \"$@\""])
        .arg(content)
        .arg(skua.get_program())
        .args(skua.get_args());
    Run::of(command)
}

#[test]
fn a_pipe_that_the_command_line_names_is_read_to_its_end_and_once() {
    for user in User::all() {
        let env = Env::new(user);
        let (registry, key, image) = (Registry::start(), Key::new(1), Image::inspect().build());
        let name = registry.push("team/i", "1", &image);
        let pem = env.write("key.pub", key.minisign_public());
        let prefix = format!("--prefix={}", registry.name("team"));
        piped(&env, &["trust", "add", &prefix, "/dev/stdin"], &pem).success();
        // A fetch judges it, and so does the run.
        let signature = env.write("i.minisig", key.minisign(&image.manifest.bytes, "i"));
        let run = [
            "run",
            "--uuid-file-save=uuid",
            "--signature=/dev/stdin",
            &name,
            "--",
            "exit",
            "7",
        ];
        env.skua(&["run", &name]).fails(&["not trusted"]);
        piped(&env, &run, &signature).exits(7);
        let lock = env.skua(&["lock", &name]).success().stdout;
        let lock = env.write("lock", lock);
        let run = ["run", "--locked=/dev/stdin", &name, "--", "exit", "7"];
        piped(&env, &run, &lock).exits(7);
        let uuid = env.home().join("uuid");
        piped(&env, &["status", "--uuid-file=/dev/stdin"], &uuid).says("state=exited");
        piped(&env, &["trust", "rm", &prefix, "/dev/stdin"], &pem)
            .success()
            .says("no longer trusted");
    }
}

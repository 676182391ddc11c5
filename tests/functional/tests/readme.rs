//! What README.md shows is true: its session is run as it stands, its links lead somewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use functional::{Env, Image, Key, Layer, Registry, Run, User, binaries, skip};

/// The host whose place the test's registry takes.
const HOST: &str = "registry.example";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The commands of the README's session and the output that it shows after each; several commands make one script, for
/// `$?` is the exit status of the command before.
fn session(readme: &str) -> Vec<(String, Vec<String>)> {
    let (_, rest) = readme.split_once("```console\n").expect("a session");
    let (block, _) = rest.split_once("```").expect("its end");
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push((command.to_owned(), Vec::new())),
            None => steps.last_mut().expect("a command").1.push(line.to_owned()),
        }
    }
    steps
}

/// An image of busybox with the applets that the session uses.
fn busybox() -> Option<functional::Built> {
    let program = fs::read("/bin/busybox").ok()?;
    let mut layer = Layer::new()
        .directory("bin")
        .file("bin/busybox", 0o755, program);
    for applet in ["sh", "id", "nc", "sleep", "echo"] {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    Some(Image::new().layer(layer).cmd(&["/bin/sh"]).build())
}

#[test]
fn the_session_of_the_readme_does_what_it_shows() {
    let Some(image) = busybox() else {
        return skip("the_session_of_the_readme", "/bin/busybox is not installed");
    };
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let registry = Registry::start();
    let key = Key::new(1);
    registry.push_signed("team/busybox", "1", &image, &key);
    registry.push("other/busybox", "1", &image);
    let env = Env::new(User::ordinary());
    env.write("team.pem", key.public_pem());

    let steps = session(&readme);
    assert!(steps.len() >= 8, "{steps:?}");
    let mut script = String::from(
        "skua() { \"$SKUA\" --data-dir \"$DATA\" --config-dir \"$CONFIG\" \"$@\"; }\n",
    );
    for (at, (command, _)) in steps.iter().enumerate() {
        let command = command.replace(HOST, &registry.host());
        script.push_str(&format!(
            "{command}\nstatus=$?\necho \"@{at} $status\"\n(exit $status)\n"
        ));
    }
    let mut shell = env.program("/bin/sh");
    shell
        .args(["-c", &script])
        .env("SKUA", binaries().join("skua"))
        .env("DATA", env.data())
        .env("CONFIG", env.config())
        .current_dir(env.scratch(""));
    let run = Run::of(shell);
    let mut rest = run.stdout.as_str();
    for (at, (command, shown)) in steps.iter().enumerate() {
        let (output, after) = rest
            .split_once(&format!("@{at} "))
            .unwrap_or_else(|| panic!("no end of {command:?}\n{}", run.report()));
        let (status, after) = after.split_once('\n').expect("a line");
        rest = after;
        // A failure is shown by the question that follows it.
        let wanted = match steps.get(at + 1) {
            Some((next, answer)) if next == "echo $?" => answer[0].as_str(),
            _ => "0",
        };
        assert_eq!(status, wanted, "$ {command}\n{}", run.report());
        let output: Vec<&str> = output.lines().collect();
        // A command whose output differs from run to run is shown without any.
        if !shown.is_empty() {
            assert_eq!(&output, shown, "$ {command}\n{}", run.report());
        }
    }
}

/// The files of the tree whose names end so.
fn files(kind: &str) -> Vec<String> {
    let mut list = Command::new("git");
    list.args(["ls-files", &format!("*{kind}")])
        .current_dir(repository());
    let files = Run::of(list).success().stdout;
    files.lines().map(str::to_owned).collect()
}

#[test]
fn every_source_that_the_documents_name_is_there() {
    let sources = files(".rs");
    let mut missing = BTreeMap::new();
    for file in files(".md") {
        let text = fs::read_to_string(repository().join(&file)).expect("a document");
        // What is between two backquotes of one line.
        let spans = text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        for name in spans.filter(|name| name.ends_with(".rs") && !name.contains('*')) {
            let end = format!("/{name}");
            if !sources
                .iter()
                .any(|path| path == name || path.ends_with(&end))
            {
                missing.insert(file.clone(), name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let mut broken = BTreeMap::new();
    for file in files(".md") {
        let path = repository().join(&file);
        let text = fs::read_to_string(&path).expect("a document");
        for target in text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let foreign =
                target.is_empty() || target.contains("://") || target.contains(['[', ' ']);
            let directory = path.parent().expect("a directory");
            if !foreign && !target.contains("::") && !directory.join(target).exists() {
                broken.insert(file.clone(), target.to_owned());
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    assert!(readme.lines().count() <= 150);
}

/// The first block of TOML in a page.
fn toml(page: &str) -> String {
    let text = fs::read_to_string(repository().join(page)).expect(page);
    let (_, rest) = text.split_once("```toml\n").expect("a block");
    let (block, _) = rest.split_once("```").expect("its end");
    block.to_owned()
}

#[test]
fn the_config_toml_of_the_documentation_has_every_key_and_is_in_force_as_it_stands() {
    let env = Env::new(User::ordinary());
    let shown = |env: &Env| {
        let config = env.skua(&["config", "--format=json"]).success().json();
        let entries = config["entries"].as_array().expect("entries").clone();
        let text =
            |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or("").to_owned();
        let entries = entries.iter();
        let settings = entries.filter(|entry| !text(entry, "key").contains("dir"));
        let settings = settings.map(|entry| (text(entry, "key"), text(entry, "origin")));
        settings.collect::<Vec<_>>()
    };
    let built_in: Vec<String> = shown(&env)
        .into_iter()
        .filter(|(key, origin)| {
            origin == "built in" && !["certificates", "network"].contains(&key.as_str())
        })
        .map(|(key, _)| key)
        .collect();
    assert!(built_in.len() > 10, "{built_in:?}");
    let file = env.config().join("config.toml");
    fs::write(&file, toml("docs/configuration.md")).expect("config.toml");
    env.give(&env.config());
    let now = shown(&env);
    for key in built_in {
        let from = now
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, origin)| origin.as_str());
        assert_eq!(from, file.to_str(), "{key}");
    }
}

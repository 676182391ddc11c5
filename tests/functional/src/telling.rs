//! Pods of apps that tell how they go, with a service manager that listens.

use std::process::Command;

use serde_json::Value;

use crate::{Background, Env, Image, Manager, User};

/// The words after `skua`.
const RUN: [&str; 3] = ["--insecure-options=image", "run", "--name=p"];

/// An image in a layout directory, an environment, and a manager.
#[derive(Debug)]
pub struct Telling {
    /// The surroundings.
    pub env: Env,
    /// The name of the image of `inspect`.
    pub image: String,
    /// Who is told.
    pub manager: Manager,
}

impl Telling {
    /// For `user`.
    #[must_use]
    pub fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let manager = Manager::at_path(&env);
        Self {
            env,
            image,
            manager,
        }
    }

    /// The words that run pod `p` with these flags, of apps `one`, `two`, `three` with these flags and steps.
    #[must_use]
    pub fn words(&self, pod: &[&str], apps: &[(&[&str], &[&str])]) -> Vec<String> {
        let mut words: Vec<&str> = [&RUN[..], pod].concat();
        for (at, (flags, steps)) in apps.iter().enumerate() {
            let separator: &[&str] = if at == 0 { &[] } else { &["---"] };
            let name = ["--name=one", "--name=two", "--name=three"][at];
            words.extend(separator);
            words.extend([self.image.as_str(), name]);
            words.extend(*flags);
            words.extend(["--", "notify"]);
            words.extend(*steps);
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// skua as a manager starts it.
    #[must_use]
    pub fn start(&self, pod: &[&str], apps: &[(&[&str], &[&str])]) -> Background {
        self.start_words(&self.words(pod, apps))
    }

    /// The same, with these words.
    #[must_use]
    pub fn start_words(&self, words: &[String]) -> Background {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.env.command(&words);
        command.env("NOTIFY_SOCKET", &self.manager.address);
        Background::start(command)
    }

    /// skua as a manager starts it that wants a sign of life within so many microseconds.
    #[must_use]
    pub fn start_watched(&self, microseconds: u32, words: &[String]) -> Background {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = watched(&self.env, microseconds, &words);
        command.env("NOTIFY_SOCKET", &self.manager.address);
        Background::start(command)
    }

    /// The manager was told so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.manager.lines().contains(&"READY=1".to_owned())
    }

    /// How often the manager was told exactly this line.
    #[must_use]
    pub fn count(&self, wanted: &str) -> usize {
        let lines = self.manager.lines();
        lines.iter().filter(|line| *line == wanted).count()
    }

    /// What `skua status` says of the pod.
    #[must_use]
    pub fn status(&self) -> Value {
        let status = ["status", "p", "--format=json"];
        self.env.skua(&status).success().json()
    }
}

/// `skua WORDS` in a process that a manager watches.
#[must_use]
pub fn watched(env: &Env, microseconds: u32, words: &[&str]) -> Command {
    let typed = env.command(words);
    let mut shell = env.program("/bin/sh");
    let variables = format!("WATCHDOG_PID=$$ WATCHDOG_USEC={microseconds}");
    shell
        .args(["-c", &format!("export {variables}; exec \"$@\""), "sh"])
        .arg(typed.get_program())
        .args(typed.get_args());
    shell
}

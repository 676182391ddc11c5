//! The plugins of one network, called in turn: each ADD gets the result of the one before it, DEL goes backwards.

use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access, geteuid};
use pod::NetworkFile;
use serde_json::{Map, Value};

use super::call::{Answer, Call};
use super::conflist::{Conflist, Plugin};
use super::error::NetworkError;
use super::reply::{self, Joined, Unusable};

/// How long one call of a plugin may take: an address by DHCP takes some time, more than this is a fault.
const LIMIT: Duration = Duration::from_secs(60);

/// The most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Where plugins find programs like `iptables`.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One network with what is known about the pod in it.
pub(super) struct Chain<'a> {
    /// Its plugins.
    pub(super) list: &'a Conflist,
    /// Names, arguments and the last result.
    pub(super) record: &'a NetworkFile,
    /// `CNI_NETNS`; empty when the namespace is gone.
    pub(super) netns: &'a str,
    /// Becomes readable when the pod is to stop.
    pub(super) interrupt: Option<BorrowedFd<'a>>,
}

impl<'a> Chain<'a> {
    /// A chain that nothing interrupts.
    pub(super) fn new(list: &'a Conflist, record: &'a NetworkFile, netns: &'a str) -> Self {
        Self {
            list,
            record,
            netns,
            interrupt: None,
        }
    }

    /// Every plugin can be found: so that a missing one is noticed before the first has done anything.
    pub(super) fn find_all(&self) -> Result<(), NetworkError> {
        self.list
            .plugins
            .iter()
            .try_for_each(|plugin| self.find(plugin).map(|_| ()))
    }

    /// ADD of plugin `at`: its result as it is, and what the pod got.
    pub(super) fn add(
        &self,
        at: usize,
        previous: Option<&Value>,
    ) -> Result<(Value, Joined), NetworkError> {
        let plugin = &self.list.plugins[at];
        let (program, answer) = self.call("ADD", plugin, previous)?;
        reply::result(&answer.stdout).map_err(|why| unusable(program, "ADD", why))
    }

    /// DEL of every plugin, last first; one that fails does not keep the others from it.
    pub(super) fn del(&self) -> Vec<NetworkError> {
        let previous = self.record.result.as_ref();
        let plugins = self.list.plugins.iter().rev();
        plugins
            .filter_map(|plugin| self.call("DEL", plugin, previous).err())
            .collect()
    }

    /// STATUS of every plugin: whether the network could take a pod now.
    pub(super) fn status(&self) -> Result<(), NetworkError> {
        let plugins = &self.list.plugins;
        plugins
            .iter()
            .try_for_each(|plugin| self.call("STATUS", plugin, None).map(|_| ()))
    }

    /// The newest of `versions` that every plugin knows.
    pub(super) fn negotiate(
        &self,
        versions: &[&'static str],
    ) -> Result<&'static str, NetworkError> {
        let mut common = versions.to_vec();
        for plugin in &self.list.plugins {
            let (program, answer) = self.call("VERSION", plugin, None)?;
            let known =
                reply::versions(&answer.stdout).map_err(|why| unusable(program, "VERSION", why))?;
            common.retain(|version| known.iter().any(|known| known == version));
        }
        let none = || NetworkError::NoVersion(self.list.name.clone(), versions.join(", "));
        common.last().copied().ok_or_else(none)
    }

    fn call(
        &self,
        command: &'static str,
        plugin: &Plugin,
        previous: Option<&Value>,
    ) -> Result<(PathBuf, Answer), NetworkError> {
        let program = self.find(plugin)?;
        let answer = Call {
            program: &program,
            command,
            environment: &self.environment(command),
            input: self.configuration(plugin, previous).to_string().as_bytes(),
            limit: LIMIT,
            most: MAX_ANSWER,
            interrupt: self.interrupt,
        }
        .run()?;
        match answer.success {
            true => Ok((program, answer)),
            false => Err(NetworkError::Refused {
                message: reply::refusal(&answer.stdout, &answer.stderr),
                plugin: program,
                command,
            }),
        }
    }

    /// What one plugin reads: its part of the list, and what the runtime adds.
    fn configuration(&self, plugin: &Plugin, previous: Option<&Value>) -> Value {
        let mut config = plugin.config.clone();
        config.insert(
            "cniVersion".to_owned(),
            self.record.cni_version.as_str().into(),
        );
        config.insert("name".to_owned(), self.list.name.as_str().into());
        let given = self.record.capabilities.iter();
        let runtime: Map<_, _> = given
            .filter(|(capability, _)| plugin.capabilities.contains(capability))
            .map(|(capability, value)| (capability.clone(), value.clone()))
            .collect();
        if !runtime.is_empty() {
            config.insert("runtimeConfig".to_owned(), runtime.into());
        }
        if let Some(previous) = previous {
            config.insert("prevResult".to_owned(), previous.clone());
        }
        Value::Object(config)
    }

    /// The whole environment of a plugin.
    fn environment(&self, command: &str) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PATH", PATH.to_owned()),
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_PATH", self.record.plugin_path.join(":")),
        ];
        if matches!(command, "ADD" | "DEL") {
            environment.extend([
                ("CNI_CONTAINERID", self.record.container_id.to_string()),
                ("CNI_NETNS", self.netns.to_owned()),
                ("CNI_IFNAME", self.record.interface.clone()),
                ("CNI_ARGS", self.record.arguments.clone()),
            ]);
        }
        environment
    }

    /// The plugin's program. What it calls for addresses is checked with it: that looks in the same path.
    fn find(&self, plugin: &Plugin) -> Result<PathBuf, NetworkError> {
        let program = self.program(&plugin.kind)?;
        let ipam = plugin.config.get("ipam").and_then(|ipam| ipam.get("type"));
        if let Some(program) = ipam.and_then(Value::as_str).map(|kind| self.program(kind)) {
            match program {
                // The plugin says so itself.
                Err(NetworkError::NoPlugin { .. }) => {}
                other => drop(other?),
            }
        }
        Ok(program)
    }

    /// The first program of that name in the plugin path. It is one path component: `Conflist` has checked it.
    fn program(&self, kind: &str) -> Result<PathBuf, NetworkError> {
        let directories = &self.record.plugin_path;
        let program = directories
            .iter()
            .map(|directory| Path::new(directory).join(kind))
            .find(|program| program.is_file() && access(program, AccessFlags::X_OK).is_ok());
        match program {
            Some(program) => refuse_of_others(&program).map(|()| program),
            None => Err(NetworkError::NoPlugin {
                network: self.list.name.clone(),
                plugin: kind.to_owned(),
                path: directories.join(":"),
            }),
        }
    }
}

/// A program, and the directory where it was found, that only root and the caller can have written. Where this program is,
/// nothing is asked: who can write there needs no plugin.
fn refuse_of_others(program: &Path) -> Result<(), NetworkError> {
    let own = std::env::current_exe().ok();
    let directory = program.parent().unwrap_or(program);
    if own.and_then(|own| Some(own.parent()? == directory.canonicalize().ok()?)) == Some(true) {
        return Ok(());
    }
    let caller = geteuid().as_raw();
    for path in [directory, program] {
        let found = path
            .metadata()
            .map_err(|e| NetworkError::Spawn(program.to_owned(), e))?;
        if ![0, caller].contains(&found.uid()) || found.mode() & 0o022 != 0 {
            return Err(NetworkError::OfOthers(path.to_owned()));
        }
    }
    Ok(())
}

fn unusable(program: PathBuf, command: &'static str, why: Unusable) -> NetworkError {
    match why {
        Unusable::Json(e) => NetworkError::ParseAnswer(program, command, e),
        Unusable::Content(why) => NetworkError::Answer(program, command, why),
    }
}

//! What `list` and `status` say about a pod. The JSON form is stable: fields are added, never renamed or removed.

use std::fmt::Write as _;

use jiff::Timestamp;
use pod::{LimitsBy, LimitsRecord, Network, Outcome, Pod, PodManifest, PodResult, Running, State};
use serde::Serialize;

use crate::error::joined;
use crate::record::{self, Record, RecordError};
use crate::typed::PublishArg;

/// The version of the JSON that `list` prints.
pub(crate) const LIST_VERSION: u32 = 1;
/// The version of the JSON about one pod.
const REPORT_VERSION: u32 = 1;

/// One pod.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Version of this form.
    pub(crate) version: u32,
    /// Its UUID.
    pub(crate) uuid: String,
    /// Its name.
    pub(crate) name: Option<String>,
    /// `embryo`, `preparing`, `prepared`, `running`, `dead` (its keeper is gone and it could not be healed), `exited`
    /// or `garbage`.
    pub(crate) state: &'static str,
    /// When it was made, RFC 3339.
    pub(crate) created: Option<String>,
    /// When its keeper started it.
    pub(crate) started: Option<String>,
    /// When it had ended.
    pub(crate) finished: Option<String>,
    /// Pid of the keeper.
    pub(crate) keeper_pid: Option<u32>,
    /// Pid of the pod's pid 1, as the host sees it.
    pub(crate) pod_pid: Option<u32>,
    /// The pod's exit status.
    pub(crate) exit_status: Option<u8>,
    /// `none`, `host`, or the names of its networks.
    pub(crate) networks: Vec<NetworkReport>,
    /// The ports that it publishes.
    pub(crate) ports: Vec<pod::PortMapping>,
    /// Its apps, in manifest order.
    pub(crate) apps: Vec<AppReport>,
    /// The directory of its cgroup, while it runs in one.
    pub(crate) cgroup: Option<String>,
    /// How its limits are enforced, or were.
    pub(crate) limits: Option<pod::LimitsRecord>,
    /// What all of it used.
    pub(crate) usage: Option<pod::PodUsage>,
    /// Memory was used up, and the kernel killed some of it.
    pub(crate) oom: Option<bool>,
    /// The exceptions it was run with.
    pub(crate) insecure_options: Vec<pod::InsecureOption>,
    /// What skua failed to do.
    pub(crate) errors: Vec<String>,
    /// Why something is missing here.
    pub(crate) problem: Option<String>,
}

/// One network of a pod.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkReport {
    /// Its name.
    pub(crate) name: String,
    /// The pod's interface in a CNI network, and its addresses there; of an ended pod those that it had.
    pub(crate) interface: Option<String>,
    pub(crate) addresses: Vec<String>,
    /// What the plugins answered, while the pod is in it.
    pub(crate) result: Option<serde_json::Value>,
}

/// One app.
#[derive(Debug, Serialize)]
pub(crate) struct AppReport {
    /// Its name.
    pub(crate) name: String,
    /// Its image.
    pub(crate) image: String,
    /// Digest of the image's manifest.
    pub(crate) manifest: String,
    /// Why the image was trusted.
    pub(crate) trust: pod::Trust,
    /// When it said that it was ready, if it was to (`--notify`); known when the pod has ended.
    pub(crate) ready: Option<String>,
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// 128 + signal, or its code.
    pub(crate) exit_status: Option<u8>,
    /// It was killed because the stop timeout had run out.
    pub(crate) timed_out: Option<bool>,
    /// What it used.
    pub(crate) usage: Option<pod::Usage>,
}

impl Report {
    /// Reads what there is.
    pub(crate) fn of(pod: &Pod) -> Self {
        let (pod, manifest) = match record::of(pod.clone()) {
            Ok(Record::Whole(pod, manifest)) => (pod, Ok(Some(manifest))),
            Ok(Record::None) => (pod.clone(), Ok(None)),
            Ok(Record::Lost(pod, error)) => (pod, Err(RecordError::Lost(error).into())),
            Err(error) => (pod.clone(), Err(error)),
        };
        let mut report = Self::bare(&pod);
        match manifest {
            Ok(manifest) => manifest.map_or((), |manifest| report.describe(*manifest)),
            Err(error) if pod.state > State::Prepare && pod.state < State::Garbage => {
                report.problem = Some(joined(&error));
            }
            Err(_) => {}
        }
        let dir = pod.dir();
        if pod.state == State::Run
            && let Some(running) = report.part(pod::load::<Running>(&dir.pid()))
        {
            report.keeper_pid = Some(running.keeper.pid);
            report.pod_pid = Some(running.pod.pid);
            report.started = time(running.started);
            report.limits = Some(running.limits);
            let cgroup = std::fs::read_to_string(dir.cgroup()).ok();
            report.cgroup = cgroup.map(|line| line.trim_end_matches('\n').to_owned());
        }
        report.find_networks(&pod);
        if let Some(result) = report.part(pod::load::<PodResult>(&dir.result())) {
            report.conclude(result);
        }
        report
    }

    /// A part of the record, which may not be there yet. Of one that is lost it is said, once, that it is.
    fn part<T>(&mut self, loaded: Result<T, pod::Error>) -> Option<T> {
        let lost = |error: pod::Error| error.is_malformed().then_some(error);
        match loaded {
            Ok(found) => Some(found),
            Err(error) => {
                let why = lost(error).map(|error| joined(&RecordError::Lost(error)));
                self.problem = self.problem.take().or(why);
                None
            }
        }
    }

    fn bare(pod: &Pod) -> Self {
        let state = match pod.state {
            State::Embryo => "embryo",
            State::Prepare => "preparing",
            State::Prepared => "prepared",
            State::Run if pod.is_locked().unwrap_or(true) => "running",
            State::Run => "dead",
            State::ExitedGarbage => "exited",
            State::Garbage => "garbage",
        };
        Self {
            version: REPORT_VERSION,
            uuid: pod.id.to_string(),
            name: None,
            state,
            created: None,
            started: None,
            finished: None,
            keeper_pid: None,
            pod_pid: None,
            exit_status: None,
            networks: Vec::new(),
            ports: Vec::new(),
            apps: Vec::new(),
            cgroup: None,
            limits: None,
            usage: None,
            oom: None,
            insecure_options: Vec::new(),
            errors: Vec::new(),
            problem: None,
        }
    }

    fn describe(&mut self, manifest: PodManifest) {
        self.name = manifest.name.map(|name| name.to_string());
        self.created = Some(manifest.created);
        self.insecure_options = manifest.insecure_options;
        self.ports = manifest.ports;
        let named = |name: &str| NetworkReport {
            name: name.to_owned(),
            interface: None,
            addresses: Vec::new(),
            result: None,
        };
        self.networks = match manifest.network {
            Network::None => vec![named("none")],
            Network::Host => vec![named("host")],
            Network::Cni { networks, .. } => {
                networks.iter().map(|n| named(n.name.as_str())).collect()
            }
        };
        let apps = manifest.apps.into_iter().map(|app| AppReport {
            name: app.name.to_string(),
            image: app.image.reference,
            manifest: app.image.manifest,
            trust: app.image.trust,
            ready: None,
            outcome: None,
            exit_status: None,
            timed_out: None,
            usage: None,
        });
        self.apps = apps.collect();
    }

    fn find_networks(&mut self, pod: &Pod) {
        for network in &mut self.networks {
            let Ok(name) = pod::NetworkName::parse(&network.name) else {
                continue;
            };
            if let Ok(record) = pod::load::<pod::NetworkFile>(&pod.dir().network(&name)) {
                network.interface = Some(record.interface);
                network.addresses = record.addresses;
                network.result = record.result;
            }
        }
    }

    fn conclude(&mut self, result: PodResult) {
        self.started = time(result.started);
        self.finished = time(result.finished);
        self.exit_status = Some(result.exit_status);
        self.errors = result.errors;
        self.oom = result
            .usage
            .and_then(|usage| usage.oom_kills)
            .map(|kills| kills > 0);
        self.usage = result.usage;
        self.limits = Some(result.limits);
        // It has left them.
        for used in result.networks {
            let named = |network: &&mut NetworkReport| network.name == used.name.as_str();
            if let Some(network) = self.networks.iter_mut().find(named) {
                network.interface = Some(used.interface);
                network.addresses = used.addresses;
            }
        }
        for status in result.apps {
            if let Some(app) = self
                .apps
                .iter_mut()
                .find(|app| app.name == status.name.as_str())
            {
                app.ready = status.ready.and_then(time);
                app.exit_status = Some(status.outcome.exit_status());
                app.outcome = Some(status.outcome);
                app.timed_out = Some(status.timed_out);
                app.usage = Some(status.usage);
            }
        }
    }

    /// `key=value` lines.
    pub(crate) fn lines(&self) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(out, "{key}={}", crate::output::escaped(value));
        };
        line("uuid", &self.uuid);
        line("state", self.state);
        let number = |pid: Option<u32>| pid.map(|pid| pid.to_string());
        for (key, value) in [
            ("name", self.name.clone()),
            ("created", self.created.clone()),
            ("started", self.started.clone()),
            ("finished", self.finished.clone()),
            ("keeper-pid", number(self.keeper_pid)),
            ("pod-pid", number(self.pod_pid)),
            ("exit-status", number(self.exit_status.map(u32::from))),
            ("cgroup", self.cgroup.clone()),
            ("limits", self.limits.as_ref().map(enforcement)),
            ("oom", self.oom.map(|oom| oom.to_string())),
        ] {
            if let Some(value) = value {
                line(key, &value);
            }
        }
        for network in &self.networks {
            let addresses = network.addresses.join(",");
            line(
                "network",
                format!("{} {addresses}", network.name).trim_end(),
            );
        }
        for port in &self.ports {
            line("publish", &PublishArg(port.clone()).to_string());
        }
        for app in &self.apps {
            let outcome = app
                .outcome
                .as_ref()
                .map_or_else(|| self.state.to_owned(), outcome);
            line(&format!("app-{}", app.name), outcome.as_str());
        }
        for error in self.errors.iter().chain(&self.problem) {
            line("error", error);
        }
        out
    }
}

fn enforcement(limits: &LimitsRecord) -> String {
    let by = match limits.by {
        LimitsBy::Cgroup => "by its cgroup",
        LimitsBy::Rlimit => "processes of each user, by RLIMIT_NPROC",
        LimitsBy::Nothing => "not enforced",
    };
    match &limits.reason {
        Some(reason) => format!("{by}: {reason}"),
        None => by.to_owned(),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => code.to_string(),
        Outcome::Signaled {
            signal,
            core: false,
        } => format!("signal {signal}"),
        Outcome::Signaled { signal, core: true } => format!("signal {signal}, core dumped"),
        Outcome::Failed { error } => format!("failed: {error}"),
        Outcome::OutOfMemory => "out of memory".to_owned(),
    }
}

fn time(nanoseconds: u64) -> Option<String> {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?;
    (nanoseconds > 0).then(|| time.to_string())
}

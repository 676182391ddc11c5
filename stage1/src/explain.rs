//! Prints the plan of a pod, for people or for programs: nothing is done, not even looked at.
//!
//! Everything that a pod's life consists of is an [`Item`], in the order in which it is done: what the keeper does, the
//! steps of the inside, what stage2 makes of each app, and what the keeper undoes. Each says who asked for it.

mod app;
mod keeper;
mod known;
mod network;

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};

use pod::{Extent, IdMap, IdMapChoice, MAX_FILE, Origin, PodDir, PodManifest, Running};
use serde::Serialize;
use serde_json::{Value, json};

use known::Known;

use crate::error::Error;
use crate::idmap;
use crate::op::Op;
use crate::plan::{Namespaces, Opener, Plan, Role, Tree};

/// Version of the JSON form: fields and kinds of `op` may be added to it, `text` may change.
const VERSION: u32 = 1;

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// Where the manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// In the pod directory that is the working directory.
    PodDirectory,
    /// On standard input: of a pod that is not made.
    StandardInput,
}

/// Who does an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Process {
    /// The keeper, before the apps run.
    Keeper,
    /// The inside.
    Inside,
    /// Stage2, or the app's process before its program is executed.
    Stage2,
    /// The keeper, when the pod has ended.
    KeeperAfterwards,
}

/// One thing that is done.
#[derive(Debug, Serialize)]
struct Item {
    process: Process,
    #[serde(flatten)]
    op: Value,
    text: String,
    origin: Origin,
}

impl Item {
    fn new(process: Process, op: &str, args: Value, text: impl Into<String>) -> Self {
        Self {
            process,
            op: json!({"op": op, "args": args}),
            text: text.into(),
            origin: Origin::BuiltIn,
        }
    }

    fn by(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }
}

/// The JSON form.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    namespaces: Vec<&'static str>,
    id_map: &'a IdMap,
    trees: Vec<Value>,
    items: Vec<Item>,
}

/// Prints it: `explain [--json] [--stdin]`.
pub(crate) fn explain(options: &[&str]) -> Result<u8, Error> {
    let (form, from) = match options {
        [] => (Form::Text, From::PodDirectory),
        ["--json"] => (Form::Json, From::PodDirectory),
        ["--stdin"] => (Form::Text, From::StandardInput),
        ["--json", "--stdin"] => (Form::Json, From::StandardInput),
        _ => return Err(Error::Usage),
    };
    let manifest = load(from)?;
    let known = match from {
        From::PodDirectory => Known::load(&PodDir::here())?,
        From::StandardInput => Known::draft(),
    };
    let plan = Plan::new(&manifest, &map(&manifest.id_map, known.running.as_ref()))?;
    let text = match form {
        Form::Text => text(&manifest, &plan, &known),
        Form::Json => json(&manifest, &plan, &known)?,
    };
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(Error::Output)?;
    Ok(0)
}

fn load(from: From) -> Result<PodManifest, Error> {
    if from == From::PodDirectory {
        let mut manifest: PodManifest = pod::load(&PodDir::here().manifest())?;
        let later = manifest.apps.iter_mut().filter(|app| app.streams_later);
        later.for_each(|app| known::streams(&PodDir::here(), app));
        return Ok(manifest);
    }
    let source = io::stdin().lock().take(MAX_FILE + 1);
    Ok(pod::load_from(source, "standard input".as_ref())?)
}

/// The map that a running pod has. Which range another pod will have is decided when it starts, here it is the first.
fn map(choice: &IdMapChoice, running: Option<&Running>) -> IdMap {
    if let Some(running) = running {
        return running.id_map.clone();
    }
    match choice {
        IdMapChoice::Range { first, count, .. } => IdMap::range(*first, *count),
        IdMapChoice::Subordinate { map, .. } => map.clone(),
        IdMapChoice::Single { uid, gid } => idmap::single(*uid, *gid),
    }
}

/// Everything that is done, in order.
fn items(manifest: &PodManifest, plan: &Plan, known: &Known) -> Vec<Item> {
    let mut items = keeper::before(manifest, plan, known);
    items.extend(keeper::meanwhile(plan));
    let mut by_inside = Vec::new();
    match plan.opener {
        Opener::Keeper { .. } => items.extend(opened(plan)),
        Opener::Inside => by_inside = opened(plan),
    }
    items.extend(keeper::files(manifest, plan, known));
    items.extend(keeper::beside(plan));
    items.push(keeper::become_root(plan));
    for step in &plan.steps {
        // The inside opens its trees while it still sees the host's files.
        if step.op == Op::Staging {
            items.append(&mut by_inside);
            items.extend(keeper::start_builder(plan));
        }
        items.push(Item {
            process: Process::Inside,
            op: serde_json::to_value(&step.op).unwrap_or_default(),
            text: step.op.to_string(),
            origin: step.origin,
        });
    }
    items.extend(app::unmasked(manifest));
    items.extend(network::joined(manifest, plan, known));
    items.push(app::first(manifest));
    for (app, file) in manifest.apps.iter().zip(&plan.apps) {
        items.extend(app::items(manifest, plan, app, file));
    }
    items.extend(app::last(manifest));
    items.extend(keeper::afterwards(manifest, plan));
    items
}

/// The trees, by the one who opens them.
fn opened(plan: &Plan) -> Vec<Item> {
    let process = match plan.opener {
        Opener::Keeper { .. } => Process::Keeper,
        Opener::Inside => Process::Inside,
    };
    let tree = |(number, tree): (usize, &Tree)| {
        let text = format!("open tree {number}: {}", describe(tree, plan.opener));
        Item::new(process, "open-tree", tree_json(tree), text).by(tree.origin)
    };
    let handed = "clone the mounts of apps (read-only), status and the program of stage2 (read-only) for stage2";
    let handed = Item::new(process, "open-handed", Value::Null, handed);
    let trees = plan.trees.iter().enumerate().map(tree);
    trees.chain([handed]).collect()
}

fn describe(tree: &Tree, opener: Opener) -> String {
    let role = match tree.role {
        Role::Layer => "layer",
        Role::Own => "of the pod",
        Role::HostVolume => "volume of the host",
        Role::HostSys => "sysfs of the host",
        Role::Device => "device made for the pod",
    };
    let rights = match tree.read_only {
        true => "read-only",
        false => "writable",
    };
    let below = match tree.recursive {
        true => ", with the mounts below it",
        false => "",
    };
    let exec = if tree.no_exec { ", without exec" } else { "" };
    let mapped = matches!(opener, Opener::Keeper { .. });
    let mapped = match mapped && matches!(tree.role, Role::Layer | Role::HostVolume) {
        true => ", owners mapped",
        false => "",
    };
    let path = tree.path.display().to_string();
    let path = path.escape_debug();
    format!("{path} ({role}, {rights}{exec}{below}{mapped})")
}

fn tree_json(tree: &Tree) -> Value {
    json!({
        "path": tree.path.display().to_string(),
        "role": tree.role,
        "read_only": tree.read_only,
        "no_exec": tree.no_exec,
        "recursive": tree.recursive,
    })
}

fn namespaces(plan: &Plan) -> Vec<&'static str> {
    let network = (plan.namespaces == Namespaces::All).then_some("network");
    let first = ["user", "mount", "pid"].into_iter().chain(network);
    first.chain(["ipc", "uts", "cgroup"]).collect()
}

fn json(manifest: &PodManifest, plan: &Plan, known: &Known) -> Result<String, Error> {
    let document = Document {
        version: VERSION,
        namespaces: namespaces(plan),
        id_map: &plan.id_map,
        trees: plan.trees.iter().map(tree_json).collect(),
        items: items(manifest, plan, known),
    };
    let text = serde_json::to_string_pretty(&document).map_err(|e| Error::Output(e.into()))?;
    Ok(text + "\n")
}

/// The plan of a pod that was not started, as lines.
#[cfg(test)]
pub(crate) fn draft(manifest: &PodManifest, plan: &Plan) -> String {
    text(manifest, plan, &Known::default())
}

/// The plan as lines: a heading wherever another process goes on.
fn text(manifest: &PodManifest, plan: &Plan, known: &Known) -> String {
    let mut text = String::new();
    let mut last = None;
    for item in items(manifest, plan, known) {
        if last != Some(item.process) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}:", heading(item.process, plan));
            last = Some(item.process);
        }
        let _ = writeln!(text, "  {} [{}]", item.text, item.origin);
    }
    text
}

fn heading(process: Process, plan: &Plan) -> String {
    match process {
        Process::Keeper => "the keeper, outside the pod".to_owned(),
        Process::Inside => format!(
            "the inside, in new namespaces ({})",
            namespaces(plan).join(", ")
        ),
        Process::Stage2 => "stage2, and in it each app before it is executed".to_owned(),
        Process::KeeperAfterwards => "the keeper, when the pod has ended".to_owned(),
    }
}

fn extents(list: &[Extent]) -> String {
    let one = |extent: &Extent| {
        let Extent {
            inside,
            host,
            count,
        } = extent;
        format!("{count} from {inside} as the host's from {host}")
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

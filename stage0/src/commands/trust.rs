//! `skua trust`: which images may run, and whose keys decide.

mod list;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use images::small_file::{self, By};
use images::trust::{Earlier, Editor, Prefix, PublicKey, TrustError, policy_json, read_key};

use crate::context::{Context, absolute};
use crate::error::Error;
use crate::output::{Format, escaped, print};

/// The most bytes of a `policy.json`.
const MAX_IMPORT: usize = 4 << 20;

// What `trust` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Accept images below a prefix when they are signed by one of these keys
    Add(AddArgs),
    /// List the scopes and their keys
    List {
        /// How it is printed
        #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
        format: Format,
    },
    /// Trust these keys no longer; without a key remove the whole scope. Where another scope would decide and accept more, that of the
    /// last key stays and rejects
    Rm {
        /// Prefix of the scope
        #[arg(long, value_name = "PREFIX")]
        prefix: String,
        /// Fingerprints of keys, or files with them
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Take over the scopes of containers' policy.json, or fail with what has no counterpart
    Import {
        /// The file, such as /etc/containers/policy.json
        file: PathBuf,
        /// Take it in place of what was imported before
        #[arg(long)]
        replace: bool,
    },
    /// Print each rule tried for an image, and why it did or did not hold; of one that is not in the store, what is asked of it
    Test {
        /// Reference of the image
        image: String,
    },
}

// What `trust add` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Prefix of image names, matched at '/' boundaries; '*' for all images
    #[arg(long, value_name = "PREFIX")]
    prefix: String,
    /// Files with public keys: PEM or OpenSSH with ed25519 or ECDSA P-256, or minisign
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<PathBuf>,
    /// How many different keys must have signed an image
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threshold: Option<u16>,
    /// Repository that signatures name instead of PREFIX: for mirrors and local images
    #[arg(long, value_name = "PREFIX")]
    signed_as: Option<String>,
}

/// Runs the command.
pub(crate) fn run(command: TrustCommand, context: &Context) -> Result<ExitCode, Error> {
    match command {
        TrustCommand::Add(args) => add(&args, context),
        TrustCommand::List { format } => list::run(format, context),
        TrustCommand::Rm { prefix, keys } => rm(&prefix, &keys, context),
        TrustCommand::Import { file, replace } => {
            let earlier = if replace {
                Earlier::Replace
            } else {
                Earlier::Keep
            };
            import(&file, earlier, context)
        }
        TrustCommand::Test { image } => test::run(&image, context),
    }
}

fn add(args: &AddArgs, context: &Context) -> Result<ExitCode, Error> {
    let invoker = invoker();
    let keys: Result<Vec<PublicKey>, TrustError> = args
        .keys
        .iter()
        .map(|path| read_key(path, By::CommandLine, invoker))
        .collect();
    let (keys, prefix) = (keys?, prefix(&args.prefix)?);
    let signed_as = args.signed_as.as_deref().map(self::prefix).transpose()?;
    let missing = context.missing_config();
    let mut editor = Editor::open(&context.config("trust.d"), prefix.clone())?;
    editor.add(&keys, args.threshold.map(usize::from), signed_as.as_ref())?;
    let mut said = String::new();
    for key in &keys {
        said.push_str(&format!(
            "{prefix}: trusted {} key {}\n",
            key.kind(),
            key.fingerprint()
        ));
    }
    said.push_str(&format!("written to {}\n", shown(editor.path())));
    if let Some(made) = missing {
        let made = shown(made);
        said.push_str(&format!("there was no configuration in {made} before\n"));
    }
    if let Some(file) = editor.hides() {
        said.push_str(&format!("in place of the scope in {}\n", shown(file)));
    }
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

fn rm(typed: &str, keys: &[String], context: &Context) -> Result<ExitCode, Error> {
    let prefix = prefix(typed)?;
    let mut editor = Editor::open(&context.config("trust.d"), prefix.clone())?;
    editor.must_exist()?;
    let mut said = String::new();
    if keys.is_empty() {
        editor.remove_scope()?;
    }
    for key in editor.remove(keys)? {
        let (kind, fingerprint) = (key.kind(), key.fingerprint());
        said.push_str(&format!(
            "{prefix}: no longer trusted: {kind} key {fingerprint}\n"
        ));
    }
    let heir = editor.heir().map(|heir| {
        let (prefix, file) = (escaped(&heir.prefix), shown(&heir.file));
        format!("the scope '{prefix}' in {file}: {}", heir.rule)
    });
    match (editor.must_exist().is_err(), heir) {
        (true, Some(heir)) => said.push_str(&format!(
            "{prefix}: scope removed, what decides now is {heir}\n"
        )),
        (true, None) => said.push_str(&format!("{prefix}: scope removed, all is rejected\n")),
        (false, Some(heir)) if editor.rejects() => said.push_str(&format!(
            "{prefix}: no key is left, all is rejected; after 'skua trust rm --prefix {prefix}' what decides is {heir}\n"
        )),
        (false, _) => {}
    }
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

fn import(file: &Path, earlier: Earlier, context: &Context) -> Result<ExitCode, Error> {
    let bytes = small_file::required(file, MAX_IMPORT, By::CommandLine)
        .map_err(|e| TrustError::Read(file.to_owned(), e))?;
    let imported = policy_json(&bytes).map_err(|e| Error::Import(file.to_owned(), Box::new(e)))?;
    let mut said = String::new();
    let scopes: Vec<_> = imported.scopes().collect();
    let widest = scopes.iter().map(|(prefix, _)| prefix.chars().count());
    let width = widest.max().unwrap_or(0);
    for (prefix, rule) in scopes {
        said.push_str(&format!("{:width$}  {rule}\n", escaped(prefix)));
    }
    for transport in &imported.left_out {
        said.push_str(&format!(
            "left out: transport {transport}, which has no images here\n"
        ));
    }
    let path = imported.save(&context.config("trust.d"), earlier)?;
    print(&format!("{said}written to {}\n", shown(&path)))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

/// The prefix typed; that of local images absolute and with its links resolved, as the names of local images are.
fn prefix(typed: &str) -> Result<Prefix, Error> {
    let local = ["oci:", "oci-archive:", "docker-archive:"]
        .into_iter()
        .find_map(|kind| Some((kind, typed.strip_prefix(kind)?)));
    let resolved = match local {
        Some((kind, path)) if !path.is_empty() => {
            let path = Path::new(path);
            let real = path.canonicalize().or_else(|_| absolute(path))?;
            format!("{kind}{}", real.display())
        }
        _ => typed.to_owned(),
    };
    Prefix::parse(&resolved).map_err(|e| Error::usage(e.to_string(), None))
}

/// The user who became root with sudo: a key file of theirs is as good as ours to them.
fn invoker() -> Option<u32> {
    let root = nix::unistd::geteuid().is_root();
    std::env::var("SUDO_UID")
        .ok()
        .filter(|_| root)?
        .parse()
        .ok()
}

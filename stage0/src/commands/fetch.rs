//! `skua fetch`: brings images into the store.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use images::credentials;
use images::digest::Digest;
use images::fetch::Fetcher;
use images::reference::{ImageName, Reference};
use images::store::{Image, Owners, Store};
use images::trust::Policy;
use pod::{IdMapChoice, InsecureOption};

use crate::context::Context;
use crate::error::Error;
use crate::output;
use crate::progress;
use crate::settings::Settings;
use crate::worker::Spawner;

/// What `fetch --help` says at its end.
const FILES: &str = "\
Files and variables:
  containers/registries.conf, containers/registries.conf.d/*.conf in /etc and $XDG_CONFIG_HOME
          Mirrors, other locations, blocked and insecure registries;
          $CONTAINERS_REGISTRIES_CONF names one file instead
  containers/certs.d/HOST[:PORT]/ in $XDG_CONFIG_HOME and /etc, /etc/docker/certs.d/HOST[:PORT]/
          Certificate authorities (*.crt), a client certificate (NAME.cert, NAME.key)
  $REGISTRY_AUTH_FILE, or $CREDENTIALS_DIRECTORY/skua.auth.json,
  containers/auth.json in $XDG_RUNTIME_DIR and $XDG_CONFIG_HOME, $DOCKER_CONFIG/config.json
          Credentials and credential helpers
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR
          The way to registries, and the authorities instead of the system's";

// What `fetch` takes.
#[derive(Debug, Args)]
#[command(after_help = FILES)]
pub(crate) struct FetchArgs {
    /// References of the images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// A detached signature of the image's manifest (minisign, OpenSSH, Sigstore bundle, or bare)
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Vec<PathBuf>,
}

/// Fetches one image after the other and prints what each name stands for.
pub(crate) fn run(args: FetchArgs, context: &Context) -> Result<ExitCode, Error> {
    let names = args.images.iter().map(|given| ImageName::parse(given));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let store = context.store()?;
    for name in &names {
        let image = image(name, &args.signature, &store, context)?;
        output::print(&format!("{}\n", resolved(name, &image.manifest_digest)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings one image into the store.
pub(crate) fn image(
    name: &ImageName,
    signatures: &[PathBuf],
    store: &Store,
    context: &Context,
) -> Result<Image, Error> {
    let map = crate::id_map::choose();
    let owners = match &map {
        IdMapChoice::Range { store_base, .. } => Owners::Range { base: *store_base },
        IdMapChoice::Subordinate { .. } => Owners::Subordinate,
        IdMapChoice::Single { .. } => Owners::Squashed,
    };
    let insecure = context.allows(InsecureOption::Image);
    let policy = (!insecure).then(|| Policy::load(&context.config("trust.d")));
    let policy = policy.transpose()?;
    let limits = Settings::load(&context.config_directories)?.image_limits;
    let workers = Spawner::new(map, context.debug);
    let progress = progress::choose(context.quiet);
    let fetcher = Fetcher {
        store,
        policy: policy.as_ref(),
        workers: &workers,
        progress: progress.as_ref(),
        owners,
        documents: limits.documents,
        limits: limits.unpacked,
        plain_http: context.allows(InsecureOption::Http),
        any_certificate: context.allows(InsecureOption::Tls),
        registries: context.registries(),
        credentials: credentials::files(|name| env::var_os(name)),
        certificates: context.certificates(),
        authorities: env::var_os("SSL_CERT_FILE").map(PathBuf::from),
        signatures: signatures.to_vec(),
    };
    let fetched = fetcher.fetch(name)?;
    store
        .image_of(name, fetched.manifest, fetched.index)?
        .ok_or_else(|| Error::NotInStore(name.to_string()))
}

/// The name with the digest of the manifest that it stands for.
fn resolved(name: &ImageName, manifest: &Digest) -> String {
    match name {
        ImageName::Registry(reference) => {
            let unpinned = Reference {
                digest: None,
                ..reference.clone()
            };
            format!("{unpinned}@{manifest}")
        }
        local => format!("{local}@{manifest}"),
    }
}

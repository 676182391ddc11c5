//! `skua fetch`: brings images into the store.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use images::credentials;
use images::digest::Digest;
use images::evidence::Item;
use images::fetch::{FetchError, Fetcher};
use images::reference::{ImageName, Reference};
use images::store::{Image, Owners, Store};
use images::trust::Policy;
use pod::{IdMapChoice, InsecureOption};

use crate::context::Context;
use crate::error::Error;
use crate::notify::{Manager, Told};
use crate::output;
use crate::progress;
use crate::settings::Settings;
use crate::trusted;
use crate::worker::Spawner;

/// What `fetch --help` says at its end.
const FILES: &str = "\
Files and variables:
  containers/registries.conf, containers/registries.conf.d/*.conf
  in /etc and $XDG_CONFIG_HOME
          Mirrors, other locations, blocked and insecure registries;
          $CONTAINERS_REGISTRIES_CONF names one file instead
  containers/certs.d/HOST[:PORT]/ in $XDG_CONFIG_HOME and /etc,
  /etc/docker/certs.d/HOST[:PORT]/
          Certificate authorities (*.crt), a client certificate
          (NAME.cert, NAME.key)
  $REGISTRY_AUTH_FILE, or $CREDENTIALS_DIRECTORY/skua.auth.json,
  containers/auth.json in $XDG_RUNTIME_DIR and $XDG_CONFIG_HOME,
  $DOCKER_CONFIG/config.json
          Credentials and credential helpers
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY,
  SSL_CERT_FILE, SSL_CERT_DIR
          The way to registries, and the authorities instead of the
          system's";

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
    /// Name of the image in the store, as if it came from there: HOST/REPOSITORY[:TAG]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Accept an image that is older than the one that its tag stood for before
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    /// Keep the layers as they come too, so that the image can be exported as it was [default: keep-blobs of config.toml]
    #[arg(long)]
    pub(crate) keep_blobs: bool,
}

/// What one image is fetched with.
#[derive(Default)]
pub(crate) struct Wanted<'a> {
    /// Where it comes from, when that is not what its name says.
    pub(crate) from: Option<&'a ImageName>,
    /// What `--signature` names.
    pub(crate) signatures: &'a [Item],
    /// `--allow-downgrade`.
    pub(crate) allow_downgrade: bool,
    /// `--keep-blobs`; else the configuration says.
    pub(crate) keep_blobs: bool,
}

/// Fetches one image after the other and prints what each name stands for.
pub(crate) fn run(args: FetchArgs, context: &Context) -> Result<ExitCode, Error> {
    let names = args.images.iter().map(|given| ImageName::parse(given));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let given = args.name.as_deref().map(given_name).transpose()?;
    let sources: Vec<_> = match (given, names.as_slice()) {
        (None, names) => names.iter().map(|name| (name.clone(), None)).collect(),
        (Some(name), [source]) => vec![(name, Some(source))],
        (Some(_), _) => {
            return Err(Error::usage("--as names one image, not several", None));
        }
    };
    let signatures = trusted::signatures(&args.signature)?;
    let store = context.store()?;
    for (name, from) in &sources {
        let wanted = Wanted {
            from: *from,
            signatures: &signatures,
            allow_downgrade: args.allow_downgrade,
            keep_blobs: args.keep_blobs,
        };
        let image = image(name, &wanted, &store, context)?;
        output::print(&format!("{}\n", resolved(name, &image.manifest_digest)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name given with `--as`: one that a registry could have, so that its scope of trust is clear.
fn given_name(typed: &str) -> Result<ImageName, Error> {
    match ImageName::parse(typed)? {
        ImageName::Registry(reference) if reference.digest.is_none() => {
            Ok(ImageName::Registry(reference))
        }
        other => Err(Error::usage(
            format!("'{other}' cannot be given to an image as its name"),
            Some("--as HOST/REPOSITORY[:TAG], for example --as localhost/app:1"),
        )),
    }
}

/// Brings one image into the store.
pub(crate) fn image(
    name: &ImageName,
    wanted: &Wanted<'_>,
    store: &Store,
    context: &Context,
) -> Result<Image, Error> {
    let fetched = with_fetcher(name, wanted, store, context, |fetcher| match wanted.from {
        Some(from) => fetcher.fetch_as(from, name),
        None => fetcher.fetch(name),
    })?;
    store
        .image_of(name, fetched.manifest, fetched.index)?
        .ok_or_else(|| Error::NotInStore(name.to_string()))
}

/// Calls `act` with what fetches image `name` for this caller.
pub(crate) fn with_fetcher<T>(
    name: &ImageName,
    wanted: &Wanted<'_>,
    store: &Store,
    context: &Context,
    act: impl FnOnce(&Fetcher<'_>) -> Result<T, FetchError>,
) -> Result<T, Error> {
    let map = crate::id_map::choose();
    let owners = match &map {
        IdMapChoice::Range { store_base, .. } => Owners::Range { base: *store_base },
        IdMapChoice::Subordinate { .. } => Owners::Subordinate,
        IdMapChoice::Single { .. } => Owners::Squashed,
    };
    let insecure = context.allows(InsecureOption::Image);
    let policy = (!insecure).then(|| Policy::load(&context.config("trust.d")));
    let policy = policy.transpose()?;
    let settings = Settings::load(&context.config_directories)?;
    let limits = settings.image_limits;
    let workers = Spawner::new(map, context.debug);
    let (shown, manager) = (progress::choose(context.quiet), Manager::of_environment());
    let told = manager
        .as_ref()
        .map(|manager| Told::new(manager, shown.as_ref(), name));
    let fetcher = Fetcher {
        store,
        policy: policy.as_ref(),
        workers: &workers,
        progress: told.as_ref().map_or(shown.as_ref(), |told| told),
        owners,
        documents: limits.documents,
        limits: limits.unpacked,
        plain_http: context.allows(InsecureOption::Http),
        any_certificate: context.allows(InsecureOption::Tls),
        registries: context.registries(),
        credentials: credentials::files(|name| env::var_os(name)),
        certificates: context.certificates(),
        authorities: env::var_os("SSL_CERT_FILE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        signatures: wanted.signatures.to_vec(),
        allow_downgrade: wanted.allow_downgrade,
        keep_blobs: wanted.keep_blobs || settings.keep_blobs.value,
    };
    Ok(match &manager {
        Some(manager) => manager.patient(|| act(&fetcher))?,
        None => act(&fetcher)?,
    })
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

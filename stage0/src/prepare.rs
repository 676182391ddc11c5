//! Making a pod that is ready to run: its images found and trusted, its manifest written.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use images::evidence::Item;
use images::reference::ImageName;
use images::store::{Image, Store};
use jiff::Timestamp;
use pod::policy::Whose;
use pod::{
    AppName, DeviceKind, Layer, Locked, Pod, PodId, PodManifest, PodName, SeccompChoice, State,
    VolumeSource,
};
use rustix::rand::GetRandomFlags;

use crate::context::Context;
use crate::error::{Error, joined};
use crate::lock::{LockFile, Locked as LockedImage};
use crate::manifest::{self, Caller, Draft, Terminal, Wanted};
use crate::run_line::{AppLine, FetchFlags, PodFlags, Pull};
use crate::settings::Settings;
use crate::trusted::{self, Judge, Subject};
use crate::typed::VolumeKind;
use crate::{commands, find, heal, id_map, network, remove, uuid_file};

/// How often a new pod is begun when `gc` takes it for one that a crash left.
const ATTEMPTS: usize = 200;

/// The pause before each of them: `gc` needs a moment to remove what it has taken.
const PAUSE: Duration = Duration::from_millis(10);

/// Prepares the pod of a command line, up to the end of state `prepare`. Its lock is ours; on failure nothing of it is
/// left.
pub(crate) fn pod(
    flags: &PodFlags,
    lines: Vec<AppLine>,
    terminal: Terminal,
    context: &Context,
) -> Result<Locked, Error> {
    // Its leases keep the images from collectors until the pod's manifest is there, which does.
    let store = context.store()?;
    let manifest = self::manifest(flags, lines, terminal, &store, context)?;
    let name_lock = flags.name.as_ref().map(|name| reserve(name, context));
    let _name_lock = name_lock.transpose()?;
    place(&manifest, flags.uuid_file_save.as_deref(), context)
}

/// What the pod of a command line will be. Images may be fetched for it, and are leased in `store`; nothing of the pod is made.
pub(crate) fn manifest(
    flags: &PodFlags,
    lines: Vec<AppLine>,
    terminal: Terminal,
    store: &Store,
    context: &Context,
) -> Result<PodManifest, Error> {
    limits_allowed(flags, &lines, context)?;
    let settings = Settings::load(&context.config_directories)?;
    let network = network::of_pod(flags.net.as_ref(), context, &settings)?;
    let (volume_images, apps) = images(lines, flags, store, context)?;
    let draft = Draft {
        id: new_id()?,
        created: format!("{:.6}", Timestamp::now()),
        stop_timeout: flags.stop_timeout.unwrap_or(settings.stop_timeout.value).0,
        network,
        id_map: id_map::choose(),
        insecure: &context.insecure,
        volume_images,
        origins: settings.origins(flags),
        apps,
        flags,
    };
    let manifest = manifest::new(draft, &caller(terminal))?;
    context.policy()?.check(&manifest)?;
    paths_exist(&manifest)?;
    Ok(manifest)
}

/// Holds what the line says about limits against the bounds: before any image is fetched, and again with the rest.
fn limits_allowed(flags: &PodFlags, lines: &[AppLine], context: &Context) -> Result<(), Error> {
    let policy = context.policy()?;
    policy.check_limits(Whose::Pod, &manifest::limits(&flags.limits)?)?;
    for line in lines {
        let name = line.flags.name.as_ref().map(AppName::as_str);
        let whose = Whose::App(name.unwrap_or(&line.image));
        policy.check_limits(whose, &manifest::limits(&line.flags.limits)?)?;
    }
    Ok(policy.check_enforced(&context.insecure)?)
}

/// An image that is a volume, as the manifest has it.
type VolumeImage = (pod::Image, Vec<Layer>);

/// Finds, or fetches, and judges the image of each volume and app.
fn images(
    lines: Vec<AppLine>,
    flags: &PodFlags,
    store: &Store,
    context: &Context,
) -> Result<(Vec<VolumeImage>, Vec<Wanted>), Error> {
    let fetch = &flags.fetch;
    let judge = Judge::new(trusted::signatures(&fetch.signature)?, context)?;
    let lock = flags.locked.as_deref().map(LockFile::load).transpose()?;
    let source = ImageSource {
        flags: fetch,
        signatures: judge.given(),
        store,
    };
    let find = |typed: &str| -> Result<(Image, pod::Trust), Error> {
        let name = ImageName::parse(typed)?;
        let locked = lock.as_ref().map(|lock| lock.find(&name)).transpose()?;
        let image = match locked {
            Some(locked) => locked_image(&name, locked, &source, context)?,
            None => image(&name, &source, context)?,
        };
        let subject = Subject::from(&image);
        let trust = judge.decide(&subject, store)?;
        if let Some(locked) = locked {
            locked.check(&image, judge.signers(&subject, store)?)?;
        }
        log::debug!("{name} is {}: {trust:?}", image.manifest_digest);
        Ok((image, trust))
    };
    let volumes = flags.volume.iter().filter_map(|typed| match &typed.kind {
        VolumeKind::Image(name) => Some(find(name).map(|(image, trust)| recorded(image, trust))),
        VolumeKind::Source(_) => None,
    });
    let volumes = volumes.collect::<Result<_, _>>()?;
    let apps = lines.into_iter().map(|line| {
        let (image, trust) = find(&line.image)?;
        Ok(wanted(line, image, trust))
    });
    Ok((volumes, apps.collect::<Result<_, Error>>()?))
}

/// The image that is locked under `name`: what the name stands for here, or what is fetched by its digest.
fn locked_image(
    name: &ImageName,
    locked: &LockedImage,
    source: &ImageSource<'_>,
    context: &Context,
) -> Result<Image, Error> {
    match source.store.image(name)? {
        Some(image) if locked.is(&image) => Ok(image),
        _ => image(&locked.pinned(name), source, context),
    }
}

/// Where images come from.
pub(crate) struct ImageSource<'a> {
    /// Whether and how they are fetched.
    pub(crate) flags: &'a FetchFlags,
    /// The signatures of the command line.
    pub(crate) signatures: &'a [Item],
    /// Where they are, or are fetched into.
    pub(crate) store: &'a Store,
}

/// The image called `name`, from the store or fetched.
pub(crate) fn image(
    name: &ImageName,
    source: &ImageSource<'_>,
    context: &Context,
) -> Result<Image, Error> {
    let ImageSource { flags, store, .. } = *source;
    if flags.pull != Pull::Always
        && let Some(image) = store.image(name)?
    {
        return Ok(image);
    }
    match flags.pull {
        Pull::Never => Err(Error::NotInStore(name.to_string())),
        Pull::Missing | Pull::Always => {
            let wanted = commands::fetch::Wanted {
                from: None,
                signatures: source.signatures,
                allow_downgrade: flags.allow_downgrade,
                keep_blobs: false,
            };
            commands::fetch::image(name, &wanted, store, context)
        }
    }
}

fn wanted(line: AppLine, image: Image, trust: pod::Trust) -> Wanted {
    let (stem, config) = (stem(&image.name), image.config.clone());
    let (image, layers) = recorded(image, trust);
    Wanted {
        line,
        image,
        stem,
        config,
        layers,
    }
}

/// What the manifest says about an image, and its layers.
fn recorded(image: Image, trust: pod::Trust) -> VolumeImage {
    let layer = |tree: images::store::LayerTree| Layer {
        diff_id: tree.diff_id.to_string(),
        path: tree.path.to_string_lossy().into_owned(),
    };
    let record = pod::Image {
        reference: image.name.to_string(),
        manifest: image.manifest_digest.to_string(),
        config: image.config_digest.to_string(),
        trust,
    };
    (record, image.layers.into_iter().map(layer).collect())
}

/// The part of an image's name that says what it is.
fn stem(name: &ImageName) -> String {
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    match name {
        ImageName::Registry(reference) => {
            let last = reference.repository.rsplit('/').next();
            last.unwrap_or_default().to_owned()
        }
        ImageName::Layout { directory, .. } => text(directory.file_name()),
        ImageName::Archive { file, .. } => text(file.file_stem()),
    }
}

/// Looks for the files of the host that the pod will need: stage1 opens them, but can only tell when the pod is there.
fn paths_exist(manifest: &PodManifest) -> Result<(), Error> {
    let volumes = manifest
        .volumes
        .iter()
        .filter_map(|volume| match &volume.source {
            VolumeSource::Host(host) => Some(("--volume", &host.path)),
            VolumeSource::Empty { .. }
            | VolumeSource::Tmpfs { .. }
            | VolumeSource::Image { .. } => None,
        });
    let profiles = manifest.apps.iter().filter_map(|app| match &app.seccomp {
        SeccompChoice::Profile { path } => Some(("--seccomp", path)),
        SeccompChoice::Default | SeccompChoice::Unconfined => None,
    });
    for (flag, path) in volumes.chain(profiles) {
        look_at(flag, path)?;
    }
    Ok(())
}

/// What is at a path of the host that `flag` names.
fn look_at(flag: &'static str, path: &str) -> Result<Metadata, Error> {
    fs::metadata(path).map_err(|source| Error::HostPath {
        flag,
        path: path.into(),
        source,
    })
}

fn caller(terminal: Terminal) -> Caller<'static> {
    Caller {
        // One that was deleted is missed only by who types a relative path.
        directory: env::current_dir().unwrap_or_default(),
        variable: &|name| env::var_os(name),
        device: &device,
        terminal,
    }
}

/// What is at a path of the host that is to be a device.
fn device(path: &str) -> Result<manifest::Node, Error> {
    let found = look_at("--device", path)?;
    let (is, number) = (found.file_type(), found.rdev());
    let kind = match (is.is_char_device(), is.is_block_device()) {
        (true, _) => DeviceKind::Character,
        (_, true) => DeviceKind::Block,
        _ => {
            let hint = "directories and files of the host are volumes";
            let what = format!("{path}, which --device names, is not a device");
            return Err(Error::usage(what, Some(hint)));
        }
    };
    Ok((kind, rustix::fs::major(number), rustix::fs::minor(number)))
}

/// A random UUID. One call of the kernel: a static program's libraries would open files for it.
fn new_id() -> Result<PodId, Error> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Error::Random(e.into()))?;
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    Ok(PodId::parse(&id.hyphenated().to_string())?)
}

/// Makes sure that no living pod has the name, as long as the lock that comes back is held.
fn reserve(name: &PodName, context: &Context) -> Result<File, Error> {
    let data = &context.data.0;
    let lock = File::open(data).map_err(|e| Error::LockData(data.clone(), e))?;
    lock.lock().map_err(|e| Error::LockData(data.clone(), e))?;
    heal::pods(context)?;
    name_is_free(name, context)?;
    Ok(lock)
}

/// No living pod has the name now.
pub(crate) fn name_is_free(name: &PodName, context: &Context) -> Result<(), Error> {
    let find::Named { pods, unknown } = find::named(&context.data, name)?;
    let mut pods = pods.into_iter().map(|(pod, _)| pod);
    match (pods.find(find::is_living), unknown) {
        (Some(pod), _) => {
            let holder = match pod.state == State::Run && !pod.is_locked()? {
                true => find::Holder::Dead,
                false => find::Holder::Living,
            };
            Err(Error::NameTaken(name.clone(), pod.id, holder))
        }
        (None, Some(error)) => Err(error),
        (None, None) => Ok(()),
    }
}

/// Writes the pod's directory.
fn place(
    manifest: &PodManifest,
    uuid_file: Option<&Path>,
    context: &Context,
) -> Result<Locked, Error> {
    let mut locked = create(&manifest.id, context)?;
    match fill(&mut locked, manifest, uuid_file) {
        Ok(()) => Ok(locked),
        Err(error) => Err(abandon(locked, context, error)),
    }
}

fn fill(
    locked: &mut Locked,
    manifest: &PodManifest,
    uuid_file: Option<&Path>,
) -> Result<(), Error> {
    locked.move_to(State::Prepare)?;
    pod::save(&locked.pod.dir().manifest(), manifest)?;
    if let Some(file) = uuid_file {
        uuid_file::save(file, &manifest.id).map_err(|e| Error::UuidFileSave(file.to_owned(), e))?;
    }
    Ok(())
}

/// A new pod. Between its directory and its lock `gc` may take it for one that a crash left, and remove it.
fn create(id: &PodId, context: &Context) -> Result<Locked, Error> {
    let mut attempts = 1;
    loop {
        match Pod::create(&context.data, id.clone()) {
            Err(error) if attempts < ATTEMPTS && is_taken(&error, attempts) => {
                attempts += 1;
                thread::sleep(PAUSE);
            }
            other => return Ok(other?),
        }
    }
}

/// `gc` holds the directory that we made, or has not removed it yet.
fn is_taken(error: &pod::Error, attempts: usize) -> bool {
    match error {
        pod::Error::Lock(..) => true,
        pod::Error::Make(_, e) => attempts > 1 && e.kind() == io::ErrorKind::AlreadyExists,
        _ => false,
    }
}

/// Removes a pod that is not handed over, and gives the reason back.
pub(crate) fn abandon(locked: Locked, context: &Context, reason: Error) -> Error {
    if let Err(error) = remove::pod(locked, context) {
        log::warn!("{}", joined(&error));
    }
    reason
}

//! The Landlock domain of an app: files in its root and no others, by whatever descriptor, link or mount it reaches them.
//!
//! The app's mount namespace has nothing but its root. Should a descriptor of the host ever leak into it (CVE-2024-21626), or
//! a magic link of `/proc` lead out, the kernel still finds that what it leads to is not below the root, and denies it. With
//! a read-only root, what may be written is named mount by mount too.
//!
//! **Runs as** the app, with `no_new_privs` or CAP_SYS_ADMIN. **Needs** the app's root and its standard streams.
//! **Leaves** a domain. **Undone by** nothing.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use pod::LandlockRules;

use crate::error::Error;
use crate::root::Root;
use crate::sys;

/// What is denied outside the root. Not connecting to sockets with a path (ABI 9): a volume is there to be shared.
const NEWEST: ABI = ABI::V5;

/// Enters the domain that the app file asks for.
pub(crate) fn enter(rules: &LandlockRules, root: &Root) -> Result<(), Error> {
    let files = if rules.files { renames() } else { None };
    match files {
        Some(ruleset) => restrict_files(ruleset, rules, root),
        None if rules.scope_abstract_sockets => {
            let scoped = with_scope(Ruleset::default());
            restrict(scoped.and_then(Ruleset::create), true)
        }
        None => Ok(()),
    }
}

/// A kernel older than ABI 2 (Linux 5.19) would deny every rename from one directory to another: there is no domain then.
fn renames() -> Option<Ruleset> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)
        .ok()
}

fn with_scope(ruleset: Ruleset) -> Result<Ruleset, RulesetError> {
    ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::AbstractUnixSocket)
}

fn restrict_files(ruleset: Ruleset, rules: &LandlockRules, root: &Root) -> Result<(), Error> {
    let all = AccessFs::from_all(NEWEST);
    let mut ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all);
    if rules.scope_abstract_sockets {
        ruleset = ruleset.and_then(with_scope);
    }
    let below_root = match rules.writable.is_empty() {
        true => all,
        false => AccessFs::from_read(NEWEST),
    };
    let mut made = ruleset
        .and_then(Ruleset::create)
        .and_then(|made| made.add_rule(PathBeneath::new(root, below_root)))
        .map_err(Error::Landlock)?;
    for path in &rules.writable {
        made = writable(made, path, root)?;
    }
    restrict(streams(made), rules.scope_abstract_sockets)
}

fn writable(made: RulesetCreated, path: &str, root: &Root) -> Result<RulesetCreated, Error> {
    let failed = |e| Error::Volume(path.to_owned(), e);
    let place = root.open(path, OFlag::O_PATH).map_err(failed)?;
    let found = fstat(&place).map_err(failed)?;
    let directory = found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    let access = match directory {
        true => AccessFs::from_all(NEWEST),
        false => AccessFs::from_file(NEWEST),
    };
    made.add_rule(PathBeneath::new(place, access))
        .map_err(Error::Landlock)
}

/// The caller's files and terminals that are the app's standard streams can be opened again, as `/dev/stdout`: many images
/// log there. No further than they are open already. Pipes and sockets need no rule.
fn streams(mut made: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
    let mut seen = Vec::new();
    for number in 0..3 {
        let stream = sys::standard(number);
        let (Ok(found), Ok(flags)) = (fstat(stream), fcntl(stream, FcntlArg::F_GETFL)) else {
            continue;
        };
        let mode = flags & libc::O_ACCMODE;
        let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
        let named = matches!(kind, SFlag::S_IFREG | SFlag::S_IFCHR | SFlag::S_IFBLK);
        let this = (found.st_dev, found.st_ino, mode);
        if named && !seen.contains(&this) {
            seen.push(this);
            made = made.add_rule(PathBeneath::new(stream, access_of(mode)))?;
        }
    }
    Ok(made)
}

fn access_of(mode: i32) -> BitFlags<AccessFs> {
    let (read, write) = (
        AccessFs::ReadFile | AccessFs::IoctlDev,
        AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev,
    );
    match mode {
        libc::O_RDONLY => read,
        libc::O_WRONLY => write,
        _ => read | write,
    }
}

/// With `scoped`, what the kernel does not have is an error.
fn restrict(made: Result<RulesetCreated, RulesetError>, scoped: bool) -> Result<(), Error> {
    let restricted = made
        .and_then(|made| made.no_new_privs(false).restrict_self())
        .map_err(Error::Landlock)?;
    match restricted.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced if !scoped => Ok(()),
        _ if scoped => Err(Error::ScopeMissing),
        _ => Err(Error::NoDomain),
    }
}

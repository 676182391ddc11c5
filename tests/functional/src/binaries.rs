//! Where the binaries under test are: the directory of this build's profile. A missing or stale one is an error here,
//! for `cargo test` builds only the binaries of its own crate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// All programs of skua.
pub const PROGRAMS: [&str; 5] = [
    "skua",
    "skua-worker",
    "skua-stage1",
    "skua-stage2",
    "skua-cni-pasta",
];

/// The directory with skua and its other programs, reachable for every user. `SKUA_TEST_BINARIES` names
/// another one, such as the `bin` directory of an installation.
///
/// # Panics
/// When a binary is missing, or older than a source file that it was made from.
#[must_use]
pub fn binaries() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(directory) = std::env::var_os("SKUA_TEST_BINARIES") {
            return directory.into();
        }
        let directory = build_directory();
        for program in PROGRAMS {
            check(&directory, program);
        }
        if reachable_for_all(&directory) {
            directory
        } else {
            copy_for_all(&directory)
        }
    })
}

/// The static program of the test images.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn inspect_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let path = build_directory().join("inspect");
        fs::read(&path).unwrap_or_else(|e| {
            panic!(
                "cannot read {}: {e}; run `cargo build --workspace --bins`",
                path.display()
            )
        })
    })
}

/// `target/<triple>/<profile>`: this program is there, or in `deps` below it.
fn build_directory() -> PathBuf {
    let exe = std::env::current_exe().expect("/proc/self/exe");
    let parent = exe.parent().expect("a directory");
    if parent.ends_with("deps") {
        parent.parent().expect("a directory").to_path_buf()
    } else {
        parent.to_path_buf()
    }
}

fn check(directory: &Path, program: &str) {
    const REMEDY: &str = "run `cargo build --workspace --bins` first, or `make test`";
    let path = directory.join(program);
    let Ok(built) = fs::metadata(&path).and_then(|m| m.modified()) else {
        panic!("{} is missing: {REMEDY}", path.display());
    };
    let Ok(dep_info) = fs::read_to_string(directory.join(format!("{program}.d"))) else {
        return;
    };
    let sources = dep_info.split_once(": ").map_or("", |(_, s)| s);
    for source in sources.split_whitespace() {
        if let Ok(changed) = fs::metadata(source).and_then(|m| m.modified())
            && changed > built
        {
            panic!("{} is older than {source}: {REMEDY}", path.display());
        }
    }
}

fn reachable_for_all(directory: &Path) -> bool {
    directory
        .ancestors()
        .all(|d| fs::metadata(d).is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
}

/// Below a directory such as /root, other users need a copy. It is named after what it is a copy of, made under a
/// temporary name and renamed, so that test programs can share it.
fn copy_for_all(directory: &Path) -> PathBuf {
    let mut identity = directory.display().to_string();
    for program in PROGRAMS {
        let meta = fs::metadata(directory.join(program)).expect("checked before");
        identity.push_str(&format!("{:?} {}", meta.modified().ok(), meta.len()));
    }
    let name = crate::sha256(identity.as_bytes());
    let copy = PathBuf::from(format!("/var/tmp/skua-test-bin-{}", &name[7..23]));
    if copy.exists() {
        return copy;
    }
    remove_old_copies();
    let temporary = tempfile::Builder::new()
        .prefix("skua-test-bin-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/var/tmp")
        .expect("a directory in /var/tmp");
    for program in PROGRAMS {
        fs::copy(directory.join(program), temporary.path().join(program)).expect("copy a binary");
    }
    match fs::rename(temporary.path(), &copy) {
        Ok(()) => drop(temporary.keep()),
        Err(_) => assert!(copy.exists(), "cannot make {}", copy.display()),
    }
    copy
}

fn remove_old_copies() {
    let entries = fs::read_dir("/var/tmp").into_iter().flatten().flatten();
    for entry in entries {
        let ours = entry
            .file_name()
            .to_string_lossy()
            .starts_with("skua-test-bin-");
        let old = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|t| t.elapsed().is_ok_and(|age| age.as_secs() > 7200));
        if ours && old {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

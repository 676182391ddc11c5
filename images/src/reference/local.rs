//! Names of local images: a transport, a path, and which image of it is meant.

use std::path::{Component, Path, PathBuf};

use super::grammar::{check_docker_name, check_tag};
use super::{ImageName, ReferenceError};
use crate::escape;

/// What stands for standard input in place of a path. A file of that name is `./-`.
const STDIN: &str = "-";

/// How an archive holds its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArchiveFormat {
    /// An OCI image layout.
    Oci,
    /// What `docker save` and `podman save` write.
    Docker,
}

impl ArchiveFormat {
    /// What begins the names of its images.
    #[must_use]
    pub fn transport(self) -> &'static str {
        match self {
            Self::Oci => "oci-archive:",
            Self::Docker => "docker-archive:",
        }
    }
}

/// The name of a local image; nothing when `given` has another transport.
pub(super) fn parse(
    given: &str,
    resolve: impl Fn(&Path) -> std::io::Result<PathBuf>,
) -> Result<Option<ImageName>, ReferenceError> {
    let unusable = |source| ReferenceError::Path {
        given: escape::text(given.as_bytes()),
        source,
    };
    let archive = |format: ArchiveFormat, (path, tag): (&str, Option<&str>)| {
        let file = match path {
            STDIN => PathBuf::from(STDIN),
            path => resolve(Path::new(path)).map_err(unusable)?,
        };
        let tag = tag.map(str::to_owned);
        Ok(Some(ImageName::Archive { format, file, tag }))
    };
    if let Some(rest) = given.strip_prefix(ArchiveFormat::Docker.transport()) {
        archive(ArchiveFormat::Docker, path_and_name(given, rest)?)
    } else if let Some(rest) = given.strip_prefix(ArchiveFormat::Oci.transport()) {
        archive(ArchiveFormat::Oci, path_and_tag(given, rest)?)
    } else if let Some(rest) = given.strip_prefix("oci:") {
        let (path, tag) = path_and_tag(given, rest)?;
        let directory = resolve(Path::new(path)).map_err(unusable)?;
        let tag = tag.map(str::to_owned);
        Ok(Some(ImageName::Layout { directory, tag }))
    } else {
        Ok(None)
    }
}

/// Whether `path` of an archive is standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

/// The tag begins at the last `:`, unless that is in a directory's name.
fn path_and_tag<'a>(
    given: &str,
    rest: &'a str,
) -> Result<(&'a str, Option<&'a str>), ReferenceError> {
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(given, tag)?;
    }
    Ok((path, tag))
}

/// Images in such an archive have names with `/` and `:`, so the path ends at the first `:`, as for skopeo and podman.
fn path_and_name<'a>(
    given: &str,
    rest: &'a str,
) -> Result<(&'a str, Option<&'a str>), ReferenceError> {
    let Some((path, name)) = rest.split_once(':') else {
        return Ok((rest, None));
    };
    check_docker_name(given, name)?;
    Ok((path, Some(name)))
}

/// Resolves links and `..` where the path exists. Where it does not, `..` is refused: the path is a scope of trust, and
/// `/trusted/../evil` must not be taken for something below `/trusted`.
pub(super) fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(found) => Ok(found),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && path != Path::new("") => {
            let absolute = std::path::absolute(path)?;
            match absolute
                .components()
                .any(|part| part == Component::ParentDir)
            {
                true => Err(e),
                false => Ok(absolute),
            }
        }
        Err(e) => Err(e),
    }
}

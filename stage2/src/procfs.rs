//! What is written through the app's verified `/proc`: `oom_score_adj` and the labels of security modules.
//!
//! History: labels were written to a decoy that the image or a volume had put in the place of `/proc` (CVE-2019-16884), or
//! through a mount that redirected them (CVE-2025-52881). Here `/proc` is known to be a proc file system, nothing mounted
//! over its files is followed, and what was written is read back.
//!
//! **Runs as** the pod's user 0. **Needs** [`verify::surroundings`]. **Leaves** what exec and the kernel's OOM killer will see.
//! **Undone by** nothing: exec follows.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use pod::AppFile;

use crate::error::{self, Error};
use crate::verify::{self, open_file};

/// The most bytes that are read back: the longest label.
const MAX: usize = 4096;

/// Writes what the app file names.
pub(crate) fn set(app: &AppFile, proc: &OwnedFd) -> Result<(), Error> {
    if let Some(score) = app.process.oom_score_adj {
        let failed = |e| Error::OomScore(score, e);
        let found = write(proc, "self/oom_score_adj", &score.to_string()).map_err(failed)?;
        verify::compare("oom_score_adj", score.to_string(), found)?;
    }
    if let Some(profile) = &app.labels.apparmor {
        let failed = |e| Error::Label("AppArmor profile", profile.clone(), e);
        let text = format!("exec {profile}");
        let found = write(proc, "self/attr/apparmor/exec", &text).map_err(failed)?;
        // The kernel adds the profile's mode.
        let name = found
            .rsplit_once(" (")
            .map_or(found.as_str(), |(name, _)| name);
        verify::compare("the AppArmor profile", profile.as_str(), name)?;
    }
    if let Some(context) = &app.labels.selinux {
        let failed = |e| Error::Label("SELinux context", context.clone(), e);
        let found = write(proc, "self/attr/exec", context).map_err(failed)?;
        verify::compare("the SELinux context", context.as_str(), &found)?;
    }
    Ok(())
}

/// Writes `text` in one call, as these files want it, and gives what the file says then.
fn write(proc: &OwnedFd, file: &'static str, text: &str) -> Result<String, Errno> {
    let mut file = File::from(open_file(proc, file, OFlag::O_RDWR)?);
    file.write_all(text.as_bytes())
        .map_err(|e| error::errno(&e))?;
    let mut found = [0; MAX];
    let length = file.read_at(&mut found, 0).map_err(|e| error::errno(&e))?;
    let found = String::from_utf8_lossy(&found[..length]);
    Ok(found.trim_end_matches(['\0', '\n']).to_owned())
}

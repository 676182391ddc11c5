//! Whiteouts: entries whose name hides something of lower layers, turned into what overlayfs understands. What this layer
//! has itself stays, whichever came first in the archive.

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::UnpackError;
use super::apply::{Found, Place, Tree};
use super::error::{failed, refuse};

/// What the names of whiteouts begin with.
pub(super) const PREFIX: &[u8] = b".wh.";
/// Hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

impl Tree<'_> {
    pub(super) fn white_out(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        if place.name == OPAQUE {
            self.report.opaque_root |= place.path.split().0.is_empty();
            return self.make_opaque(place, b".");
        }
        let hidden = &place.name[PREFIX.len()..];
        if hidden.starts_with(PREFIX) {
            // Bookkeeping of aufs, where whiteouts come from.
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refuse(place.path.bytes(), "it hides no name"));
        }
        let device = FileType::CharacterDevice;
        match rustix::fs::mknodat(place.parent, hidden, device, Mode::empty(), 0) {
            Ok(()) => {
                self.report.whiteouts += 1;
                Ok(())
            }
            Err(Errno::EXIST) => {
                let there = Place {
                    name: hidden,
                    ..*place
                };
                match there.found()? {
                    Found::Directory => self.make_opaque(place, hidden),
                    Found::Whiteout | Found::Other => Ok(()),
                }
            }
            Err(e) => Err(failed("create whiteout", place.path, e)),
        }
    }

    /// Makes the directory `name` beside the entry hide the one of lower layers.
    pub(super) fn make_opaque(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
    ) -> Result<(), UnpackError> {
        self.parents
            .make_opaque(place.parent, name)
            .map_err(|e| failed("make opaque", place.path, e))
    }
}

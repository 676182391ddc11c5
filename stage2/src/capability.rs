//! The capability sets of an app: which there must be before exec, and the calls that make them so.

use nix::errno::Errno;
use pod::{AppFile, Capability};

use crate::error::Error;
use crate::sys::{self, Sets};
use crate::user::Identity;

/// The five sets, as masks in the kernel's order of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What no exec can exceed.
    pub(crate) bounding: u64,
    /// Permitted and effective before exec.
    pub(crate) permitted: u64,
    /// Inheritable and ambient: what survives exec without user 0.
    pub(crate) ambient: u64,
}

impl Plan {
    /// User 0 holds the bounding set; any other user the ambient set, empty unless asked for.
    pub(crate) fn new(app: &AppFile, identity: &Identity) -> Self {
        let bounding = Capability::mask(&app.capabilities.bounding);
        let (permitted, ambient) = if identity.uid == 0 {
            (bounding, 0)
        } else {
            let ambient = Capability::mask(&app.capabilities.ambient) & bounding;
            (ambient, ambient)
        };
        Self {
            bounding,
            permitted,
            ambient,
        }
    }
}

/// Drops from the bounding set whatever is not planned, also what only the kernel knows by now.
pub(crate) fn bound(plan: Plan) -> Result<(), Error> {
    for number in (0..64).filter(|number| plan.bounding & (1 << number) == 0) {
        match sys::drop_bounding(number) {
            Ok(()) => {}
            // Above the last one.
            Err(Errno::EINVAL) => break,
            Err(error) => return Err(Error::Bounding(number, error)),
        }
    }
    Ok(())
}

/// Sets permitted, effective, inheritable and ambient as planned; `also` stays permitted and effective for a while.
pub(crate) fn set(plan: Plan, also: &[Capability]) -> Result<(), Error> {
    let permitted = plan.permitted | Capability::mask(also);
    let sets = Sets {
        effective: permitted,
        permitted,
        inheritable: plan.ambient,
    };
    sys::clear_ambient().map_err(Error::Capabilities)?;
    sys::set_capabilities(sets).map_err(Error::Capabilities)?;
    for number in (0..64).filter(|number| plan.ambient & (1 << number) != 0) {
        sys::raise_ambient(number).map_err(|e| Error::Ambient(number, e))?;
    }
    Ok(())
}

/// Gives up everything but a few capabilities: what pid 1 does once its apps run.
pub(crate) fn keep(few: &[Capability]) -> Result<(), Error> {
    let mask = Capability::mask(few);
    let sets = Sets {
        effective: mask,
        permitted: mask,
        inheritable: 0,
    };
    sys::set_capabilities(sets).map_err(Error::Capabilities)
}

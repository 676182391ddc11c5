//! skua-cni-pasta: the CNI plugin behind `--net=pasta`. It starts pasta(1), which joins the pod's namespaces and carries its
//! connections with the rights of an ordinary user: no bridge, no address translation, no root.
//!
//! **Runs as** the keeper's user, outside the pod. **Needs** `pasta` in `PATH` and `/dev/net/tun`. **Leaves** one pasta
//! process per pod and its pid file. **Undone by** DEL.

mod answer;
mod error;
mod inputs;
mod pasta;
mod state;
mod sys;

use cni_plugin::reply::{SuccessReply, VersionReply, reply};

use error::Error;
use inputs::Asked;
use semver::Version;

fn main() {
    sys::remember_children();
    let asked = Asked::read();
    let version = asked.as_ref().map_or(Version::new(1, 0, 0), Asked::version);
    match asked.and_then(run) {
        Ok(Some(result)) => reply(result),
        Ok(None) => {}
        Err(error) => reply(error.reply(version)),
    }
}

/// Carries out the command. DEL and CHECK answer nothing.
fn run(asked: Asked) -> Result<Option<SuccessReply>, Error> {
    match asked {
        Asked::Version(cni_version) => reply(VersionReply {
            cni_version,
            supported_versions: inputs::supported(),
        }),
        Asked::Add(inputs) => {
            pasta::start(&inputs)?;
            Ok(Some(answer::of(inputs)))
        }
        Asked::Check(inputs) => pasta::check(&inputs).map(|()| None),
        Asked::Del(inputs) => pasta::stop(&inputs).map(|()| None),
    }
}

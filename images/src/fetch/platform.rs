//! Which images this machine can run.

use oci_spec::image::{Arch, Os};

/// This machine's architecture in the words of the OCI image specification (Go's `GOARCH`).
pub(super) fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::ARM64,
        "riscv64" => Arch::Other("riscv64".to_owned()),
        "powerpc64" => Arch::PowerPC64le,
        "x86" => Arch::i386,
        other => Arch::Other(other.to_owned()),
    }
}

/// Whether this machine runs programs of that platform.
pub(super) fn fits(os: &Os, architecture: &Arch, variant: Option<&str>) -> bool {
    let wanted = self::architecture();
    *os == Os::Linux
        && *architecture == wanted
        && match (wanted, variant) {
            (_, None | Some("")) => true,
            // Every amd64 machine is v1, every arm64 machine v8; more than that is not known to be there.
            (Arch::Amd64, Some(variant)) => variant == "v1",
            (Arch::ARM64, Some(variant)) => variant == "v8",
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_platform_fits() {
        let here = architecture();
        assert!(fits(&Os::Linux, &here, None));
        assert!(!fits(&Os::Windows, &here, None));
        assert!(!fits(&Os::Linux, &Arch::Other("unknown".into()), None));
        assert!(!fits(&Os::Linux, &here, Some("v99")));
    }
}

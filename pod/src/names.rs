//! Names that become file names or arguments: each is checked once, when it is made.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $form:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks `given` and keeps it.
            ///
            /// # Errors
            /// [`Error::Name`] when it does not have the form.
            pub fn parse(given: &str) -> Result<Self, Error> {
                if $valid(given) {
                    Ok(Self(given.to_owned()))
                } else {
                    Err(Error::Name { kind: $kind, given: given.escape_debug().to_string(), form: $form })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(given: String) -> Result<Self, Error> {
                Self::parse(&given)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(given: &str) -> Result<Self, Error> {
                Self::parse(given)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The identity of a pod: a lower-case UUID of 36 characters.
    PodId, "pod", "a lower-case UUID", is_uuid
);
name!(
    /// The name a user gave a pod with `--name`.
    PodName, "pod", "1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends", is_label
);
name!(
    /// The name of an app in its pod; it names a directory.
    AppName, "app", "1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends", is_label
);
name!(
    /// The name of a volume in its pod.
    VolumeName, "volume", "1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends", is_label
);
name!(
    /// The name of a network: of a conflist in `net.d` (CNI specification 1.1, "name": alphanumeric, then also
    /// `_`, `.` and `-`).
    NetworkName, "network", "1 to 63 of a-z, A-Z, 0-9, '_', '.' and '-', beginning with a letter or digit", is_network
);
name!(
    /// A kernel parameter that belongs to the pod's own network or IPC namespace.
    SysctlName, "kernel parameter",
    "of a namespace of the pod: net.*, fs.mqueue.*, kernel.sem, kernel.shm* and kernel.msg*", is_sysctl
);

name!(
    /// The name that a unit gives to sockets (`FileDescriptorName=` of systemd), as it stands in `LISTEN_FDNAMES`.
    SocketName, "socket", "1 to 255 printable ASCII characters without ':'", is_descriptor_name
);

name!(
    /// The name of a credential: of a file of `$CREDENTIALS_DIRECTORY` (`systemd.exec(5)`, `LoadCredential=`).
    CredentialName, "credential", "1 to 255 printable ASCII characters without ':' and '/', and not '.' or '..'", is_credential
);

fn is_credential(given: &str) -> bool {
    is_descriptor_name(given) && !given.contains('/') && !matches!(given, "." | "..")
}

/// As in systemd's `fdname_is_valid`, which knows the empty name too: nobody could ask for that.
fn is_descriptor_name(given: &str) -> bool {
    (1..=255).contains(&given.len())
        && given
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b':')
}

fn is_uuid(given: &str) -> bool {
    given.len() == 36
        && given.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_label(given: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&given.len())
        && given.bytes().all(|byte| plain(byte) || byte == b'-')
        && given.bytes().next().is_some_and(plain)
        && given.bytes().last().is_some_and(plain)
}

fn is_network(given: &str) -> bool {
    (1..=63).contains(&given.len())
        && given
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && given
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Every part is a directory or file below `/proc/sys`, and none of them leads up.
fn is_sysctl(given: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut parts = given.split('.');
    let own = ["net.", "fs.mqueue.", "kernel.shm", "kernel.msg"]
        .iter()
        .any(|prefix| given.len() > prefix.len() && given.starts_with(prefix));
    (own || given == "kernel.sem")
        && given.len() <= 128
        && parts.all(|part| !part.is_empty() && part.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "-a",
            "a-",
            "A",
            "a_b",
            "a\n",
            "a\0",
            &"a".repeat(64),
        ] {
            assert!(AppName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a-b", "0", &"a".repeat(63)] {
            assert!(AppName::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_pod_id_is_a_lower_case_uuid() {
        assert!(PodId::parse("3f2a0b1c-0000-4000-8000-0123456789ab").is_ok());
        for bad in [
            "3F2A0B1C-0000-4000-8000-0123456789AB",
            "3f2a0b1c000040008000-0123456789ab",
            "../../../../../../../../../../../../x",
        ] {
            assert!(PodId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_kernel_parameter_is_of_a_namespace_of_the_pod() {
        for bad in [
            "",
            "net",
            "net.",
            "net..x",
            "net.ipv4/x",
            "net.ipv4.../../kernel.core_pattern",
            "kernel.core_pattern",
            "kernel.hostname",
            "kernel.domainname",
            "kernel.semx",
            "kernel.shm",
            "vm.swappiness",
            "user.max_user_namespaces",
            "network.x",
            "fs.mqueue.",
            "net.a\n",
        ] {
            assert!(SysctlName::parse(bad).is_err(), "{bad:?}");
        }
        for good in [
            "net.ipv4.ip_forward",
            "net.ipv6.conf.all.disable_ipv6",
            "kernel.sem",
            "kernel.shmmax",
            "kernel.msgmnb",
            "fs.mqueue.msg_max",
        ] {
            assert!(SysctlName::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_socket_has_a_name_that_fits_into_a_list() {
        for bad in ["", "a:b", "a\n", "a\0", "ä", &"a".repeat(256)] {
            assert!(SocketName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["web.socket", "connection", "a b=c/d", &"a".repeat(255)] {
            assert!(SocketName::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_credential_has_the_name_of_a_file() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "a:b",
            "a\n",
            "a\0",
            &"a".repeat(256),
        ] {
            assert!(CredentialName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["db.password", "...", "a b", &"a".repeat(255)] {
            assert!(CredentialName::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_name_in_json_is_checked_too() {
        assert!(serde_json::from_str::<AppName>("\"../x\"").is_err());
        assert!(serde_json::from_str::<NetworkName>("\"cbr0.1_x\"").is_ok());
    }
}

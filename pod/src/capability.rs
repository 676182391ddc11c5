//! Linux capabilities by name (`capabilities(7)`, kernel 5.9 and later: 41 of them).

use serde::{Deserialize, Serialize};

macro_rules! capabilities {
    ($($variant:ident = $number:literal, $name:literal;)*) => {
        /// A Linux capability. Its JSON form is the kernel's name, such as `CAP_NET_BIND_SERVICE`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "each is documented in capabilities(7) under its own name")]
        #[repr(u8)]
        pub enum Capability { $(#[serde(rename = $name)] $variant = $number,)* }

        impl Capability {
            /// All capabilities that this version knows, in the kernel's order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kernel's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

capabilities! {
    Chown = 0, "CAP_CHOWN";
    DacOverride = 1, "CAP_DAC_OVERRIDE";
    DacReadSearch = 2, "CAP_DAC_READ_SEARCH";
    Fowner = 3, "CAP_FOWNER";
    Fsetid = 4, "CAP_FSETID";
    Kill = 5, "CAP_KILL";
    Setgid = 6, "CAP_SETGID";
    Setuid = 7, "CAP_SETUID";
    Setpcap = 8, "CAP_SETPCAP";
    LinuxImmutable = 9, "CAP_LINUX_IMMUTABLE";
    NetBindService = 10, "CAP_NET_BIND_SERVICE";
    NetBroadcast = 11, "CAP_NET_BROADCAST";
    NetAdmin = 12, "CAP_NET_ADMIN";
    NetRaw = 13, "CAP_NET_RAW";
    IpcLock = 14, "CAP_IPC_LOCK";
    IpcOwner = 15, "CAP_IPC_OWNER";
    SysModule = 16, "CAP_SYS_MODULE";
    SysRawio = 17, "CAP_SYS_RAWIO";
    SysChroot = 18, "CAP_SYS_CHROOT";
    SysPtrace = 19, "CAP_SYS_PTRACE";
    SysPacct = 20, "CAP_SYS_PACCT";
    SysAdmin = 21, "CAP_SYS_ADMIN";
    SysBoot = 22, "CAP_SYS_BOOT";
    SysNice = 23, "CAP_SYS_NICE";
    SysResource = 24, "CAP_SYS_RESOURCE";
    SysTime = 25, "CAP_SYS_TIME";
    SysTtyConfig = 26, "CAP_SYS_TTY_CONFIG";
    Mknod = 27, "CAP_MKNOD";
    Lease = 28, "CAP_LEASE";
    AuditWrite = 29, "CAP_AUDIT_WRITE";
    AuditControl = 30, "CAP_AUDIT_CONTROL";
    Setfcap = 31, "CAP_SETFCAP";
    MacOverride = 32, "CAP_MAC_OVERRIDE";
    MacAdmin = 33, "CAP_MAC_ADMIN";
    Syslog = 34, "CAP_SYSLOG";
    WakeAlarm = 35, "CAP_WAKE_ALARM";
    BlockSuspend = 36, "CAP_BLOCK_SUSPEND";
    AuditRead = 37, "CAP_AUDIT_READ";
    Perfmon = 38, "CAP_PERFMON";
    Bpf = 39, "CAP_BPF";
    CheckpointRestore = 40, "CAP_CHECKPOINT_RESTORE";
}

impl Capability {
    /// The conventional set of container runtimes, without `CAP_MKNOD` (useless in a user namespace) and `CAP_NET_RAW`
    /// (with it an app could forge packets on a shared bridge). It holds inside the pod's user namespace only.
    pub const DEFAULT: &[Self] = &[
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Setgid,
        Self::Setuid,
        Self::Setpcap,
        Self::NetBindService,
        Self::SysChroot,
        Self::Setfcap,
    ];

    /// The capability of a name with or without `CAP_`, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Self::ALL
            .iter()
            .copied()
            .find(|c| &c.name()["CAP_".len()..] == bare)
    }

    /// This capability's bit in the kernel's sets.
    #[must_use]
    pub fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// The kernel's set for a list.
    #[must_use]
    pub fn mask(list: &[Self]) -> u64 {
        list.iter().fold(0, |mask, c| mask | c.bit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_json_agree() {
        for (number, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(*capability as usize, number);
            assert_eq!(Capability::parse(capability.name()), Some(*capability));
            assert_eq!(
                serde_json::to_string(capability).unwrap(),
                format!("\"{}\"", capability.name())
            );
        }
        assert_eq!(
            Capability::parse("net_bind_service"),
            Some(Capability::NetBindService)
        );
        assert_eq!(Capability::parse("CAP_"), None);
    }
}

//! Tables of what is typed and what it means.

use pod::{Protocol, VolumeOwner, VolumeSource};

use super::*;

fn refused<T: FromStr>(cases: &[&str]) {
    for case in cases {
        assert!(case.parse::<T>().is_err(), "{case:?}");
    }
}

#[test]
fn times() {
    for (text, seconds) in [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("2d", 172_800),
    ] {
        assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
    }
    refused::<Seconds>(&[
        "",
        "m",
        "1x",
        "-1",
        "+1",
        " 1",
        "1h30",
        "1.5h",
        "4294967296",
        "99999999999999999999d",
        "ü",
    ]);
}

#[test]
fn signals() {
    for (text, number) in [
        ("SIGTERM", 15),
        ("term", 15),
        ("15", 15),
        ("SIGRTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmax-14", 50),
        ("64", 64),
    ] {
        assert_eq!(text.parse(), Ok(StopSignal(number)), "{text}");
    }
    refused::<StopSignal>(&[
        "",
        "0",
        "65",
        "-1",
        "SIGNOPE",
        "RTMIN+31",
        "RTMIN-1",
        "RTMIN3",
        "RTMAX-64",
        "SIGSIGTERM",
    ]);
}

#[test]
fn ports() {
    let port = |text: &str| {
        let port = text.parse::<PublishArg>().unwrap().0;
        (
            port.host_ip.map(|ip| ip.to_string()),
            port.host_port,
            port.pod_port,
            port.protocol,
        )
    };
    assert_eq!(port("80:8080"), (None, 80, 8080, Protocol::Tcp));
    assert_eq!(
        port("127.0.0.1:53:53/udp"),
        (Some("127.0.0.1".to_owned()), 53, 53, Protocol::Udp)
    );
    assert_eq!(
        port("[::1]:1:2/tcp"),
        (Some("::1".to_owned()), 1, 2, Protocol::Tcp)
    );
    refused::<PublishArg>(&[
        "80",
        "0:1",
        "1:65536",
        "+1:2",
        "::1:1:2",
        "x:1:2",
        "1:2/sctp",
        "1:2/tcp/tcp",
        ":1:2",
        "[127.0.0.1]:1:2",
    ]);
}

#[test]
fn networks() {
    assert_eq!("none".parse(), Ok(NetworkArg::None));
    assert_eq!("host".parse(), Ok(NetworkArg::Host));
    let Ok(NetworkArg::Named(named)) = "a:IP=10.1.2.3;K=v,b".parse() else {
        panic!()
    };
    assert_eq!(named[0].0.as_str(), "a");
    assert_eq!(
        named[0].1,
        [
            ("IP".to_owned(), "10.1.2.3".to_owned()),
            ("K".to_owned(), "v".to_owned())
        ]
    );
    assert_eq!((named[1].0.as_str(), named[1].1.len()), ("b", 0));
    for text in ["none", "host", "a:IP=10.1.2.3;K=v,b"] {
        assert_eq!(text.parse::<NetworkArg>().unwrap().to_string(), text);
    }
    refused::<NetworkArg>(&[
        "", "a,", "a,a", "host,a", "none:x=y", "../a", "a:x", "a:x=", "a:=y", "a:x=y\n", "a:x=y z",
    ]);
}

#[test]
fn volumes() {
    let volume = |text: &str| match text.parse::<VolumeArg>().unwrap().kind {
        VolumeKind::Source(source) => source,
        VolumeKind::Image(name) => panic!("{name}"),
    };
    let empty = |mode, uid, gid| VolumeSource::Empty {
        mode,
        owner: VolumeOwner { uid, gid },
    };
    assert_eq!(volume("v,kind=empty"), empty(0o755, 0, 0));
    assert_eq!(volume("v,kind=empty,mode=1777"), empty(0o1777, 0, 0));
    assert_eq!(
        volume("v,kind=empty,uid=33,gid=2147483647"),
        empty(0o755, 33, 0x7fff_ffff)
    );
    assert_eq!(
        volume("v,kind=tmpfs,size=64k"),
        VolumeSource::Tmpfs {
            mode: 0o755,
            owner: VolumeOwner::default(),
            size: Some(65536)
        }
    );
    let VolumeSource::Host(host) = volume("v,kind=host,source=/x,readonly") else {
        panic!()
    };
    assert_eq!(
        (host.path.as_str(), host.read_only, host.recursive),
        ("/x", true, true)
    );
    refused::<VolumeArg>(&[
        "",
        "v",
        "V,kind=empty",
        "v,kind=x",
        "v,kind=host",
        "v,kind=empty,source=/x",
        "v,kind=host,source=/x,mode=700",
        "v,kind=empty,mode=4755",
        "v,kind=empty,mode=+7",
        "v,kind=empty,uid=www-data",
        "v,kind=empty,uid=+7",
        "v,kind=empty,gid=",
        "v,kind=tmpfs,gid=2147483648",
        "v,kind=host,source=/x,uid=7",
        "v,kind=tmpfs,size=0",
        "v,kind=tmpfs,size=99999999999T",
        "v,kind=tmpfs,size=1X",
        "v,kind=tmpfs,size=M",
        "v,kind=empty,kind=tmpfs",
        "v,kind=host,source=/x,readonly=maybe",
    ]);
}

#[test]
fn places_of_volumes() {
    refused::<MountArg>(&[
        "",
        "volume=v",
        "target=/x",
        "volume=v,target=/x,ro=true",
        "volume=../v,target=/x",
    ]);
    refused::<BindArg>(&[
        "",
        "/a",
        "a:/b",
        "/a:/b:x",
        "/a:/b:ro:z",
        "/a:/b:rslave",
        "/a:/b:rshared",
    ]);
    assert!("./a:/b:ro".parse::<BindArg>().unwrap().read_only);
}

#[test]
fn image_volumes_noexec_and_propagation() {
    let image: VolumeArg = "v,kind=image,source=example.org/a:1".parse().unwrap();
    assert_eq!(image.kind, VolumeKind::Image("example.org/a:1".to_owned()));
    let bind: BindArg = "/a:/b:ro,noexec,rprivate".parse().unwrap();
    assert!(bind.read_only && bind.no_exec);
    let mount: MountArg = "volume=v,target=/x,noexec".parse().unwrap();
    assert!(mount.no_exec && mount.read_only.is_none());
    refused::<VolumeArg>(&[
        "v,kind=host,source=/x,propagation=rslave",
        "v,kind=host,source=/x,propagation=shared",
        "v,kind=image",
        "v,kind=image,source=i,readonly=false",
        "v,kind=image,source=i,recursive=true",
    ]);
}

#[test]
fn limits() {
    let limit = |text: &str| {
        let limit = text.parse::<LimitArg>().unwrap().0;
        (limit.resource, limit.soft, limit.hard)
    };
    assert_eq!(
        limit("nofile=1:2"),
        ("RLIMIT_NOFILE".to_owned(), Some(1), Some(2))
    );
    assert_eq!(
        limit("RLIMIT_CORE=0"),
        ("RLIMIT_CORE".to_owned(), Some(0), Some(0))
    );
    assert_eq!(
        limit("as=1:unlimited"),
        ("RLIMIT_AS".to_owned(), Some(1), None)
    );
    refused::<LimitArg>(&[
        "",
        "nofile",
        "nofile=",
        "x=1",
        "nofile=2:1",
        "nofile=unlimited:1",
        "nofile=-2",
        "nofile=1:2:3",
    ]);
}

#[test]
fn names_variables_and_profiles() {
    assert!("a.b-c".parse::<HostName>().is_ok());
    refused::<HostName>(&["", "-a", "a..b", "a_b", "a\n", &"a".repeat(65)]);
    refused::<EnvironmentArg>(&["", "=x"]);
    assert_eq!(
        "A=b=c".parse::<EnvironmentArg>().unwrap().value.as_deref(),
        Some("b=c")
    );
    assert_eq!("A".parse::<EnvironmentArg>().unwrap().value, None);
    assert_eq!("default".parse(), Ok(SeccompArg::Default));
    refused::<SeccompArg>(&[""]);
    assert_eq!(capability("none"), Ok(None));
    assert!(capability("CAP_NOPE").is_err());
}

#[test]
fn masks_parameters_devices_and_labels() {
    assert_eq!("027".parse(), Ok(UmaskArg(0o027)));
    refused::<UmaskArg>(&["", "8", "1000", "00022", "+22", "0o22"]);
    let sysctl: SysctlArg = "kernel.sem=1 2\t3 4".parse().unwrap();
    assert_eq!(sysctl.0.value, "1 2\t3 4");
    refused::<SysctlArg>(&[
        "",
        "kernel.sem",
        "kernel.sem=",
        "kernel.sem= ",
        "kernel.sem=1\n2",
        "kernel.core_pattern=|/x",
        "kernel.hostname=x",
        "user.max_user_namespaces=9",
        "net/ipv4/x=1",
    ]);
    let device = |text: &str| {
        let device: DeviceArg = text.parse().unwrap();
        (device.host, device.path, device.read, device.write)
    };
    let expected = |host: &str, path: &str, r, w| (host.to_owned(), path.to_owned(), r, w);
    assert_eq!(
        device("/dev/fuse"),
        expected("/dev/fuse", "/dev/fuse", true, true)
    );
    assert_eq!(
        device("/dev/a:r"),
        expected("/dev/a", "/dev/a", true, false)
    );
    assert_eq!(device("/x:/dev/b:w"), expected("/x", "/dev/b", false, true));
    refused::<DeviceArg>(&[
        "",
        "fuse",
        "/etc/x",
        "/dev/a:/etc/b",
        "/dev/a:/dev/../x",
        "/dev/a:/dev/",
        "/dev/a:rwm",
        "/dev/a:m",
        "/dev/a:rr",
        "/dev/a:/dev/b:r:w",
    ]);
    assert!(label("docker-default").is_ok() && label("system_u:system_r:t:s0:c1,c2").is_ok());
    for bad in ["", "a b", "a\n", "ä", &"a".repeat(256)] {
        assert!(label(bad).is_err(), "{bad:?}");
    }
}

//! Ports of the host that a pod publishes: by a network that can, and nobody else's.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};

use functional::{Env, Image, User, eventually, hear, left_of_networks, private_host};
use serde_json::json;

#[test]
fn a_port_cannot_be_published_without_a_network_that_can() {
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    for net in ["--net=none", "--net=host"] {
        let publish = ["run", net, "--publish=18081:80", &image, "--", "exit", "0"];
        env.skua(&[&["--insecure-options=image"], &publish[..]].concat())
            .fails(&["publish"]);
    }
}

#[test]
fn privileged_a_port_that_somebody_has_is_not_taken_away() {
    let Some(root) = private_host("a_port_that_somebody_has") else {
        return;
    };
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    let words = ["--insecure-options=image", "run", "--net=default"];
    let publish = |port: &str| {
        let publish = format!("--publish={port}");
        env.skua(&[&words[..], &[&publish, &image, "--", "exit", "0"]].concat())
    };
    let server = TcpListener::bind("0.0.0.0:18086").unwrap();
    publish("18086:80").fails(&["cannot publish 0.0.0.0:18086/tcp of the host: Address"]);
    publish("127.0.0.1:18086:80").fails(&["cannot publish 127.0.0.1:18086/tcp"]);
    publish("18086:80/udp").success();
    drop(server);
    let server = UdpSocket::bind("0.0.0.0:18086").unwrap();
    publish("18086:80/udp").fails(&["cannot publish 0.0.0.0:18086/udp"]);
    drop(server);
    publish("203.0.113.9:18086:80").fails(&["203.0.113.9:18086", "Cannot assign"]);
    assert_eq!(left_of_networks(), BTreeSet::new());
    // The network has addresses of version 4 only.
    for nothing_to_lead_to in ["[::1]", "[::]"] {
        let publish = publish(&format!("{nothing_to_lead_to}:18086:80"));
        let part = format!("cannot publish {nothing_to_lead_to}:18086 of the host");
        publish.fails(&[&part, "network 'default'", "no IPv6 address"]);
        assert_eq!(left_of_networks(), BTreeSet::new());
    }

    let first = ["--publish=18086:80", "--name=first", &image, "--"];
    let listen = ["listen", "0.0.0.0:80", "the first"];
    let pod = env.spawn(&[&words[..], &first, &listen].concat());
    eventually("the first pod has joined", || {
        let status = env.skua(&["status", "first", "--format=json"]);
        status.code() == Some(0) && status.json()["networks"][0]["addresses"][0].is_string()
    });
    publish("18086:80").fails(&["cannot publish 0.0.0.0:18086/tcp"]);
    assert_eq!(hear("192.0.2.1:18086"), "the first");
    pod.wait().success();
    publish("18086:80").success();
    assert_eq!(left_of_networks(), BTreeSet::new());
}

#[test]
fn what_a_pod_publishes_is_shown_before_it_runs_too() {
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    let net = if env.user().is_root() {
        "--net=default"
    } else {
        "--net=pasta"
    };
    let ports = [
        "127.0.0.1:18080:80/tcp",
        "18081:81/udp",
        "[::1]:18082:82/tcp",
    ];
    let publish = ports.map(|port| format!("--publish={port}"));
    let publish: Vec<&str> = publish.iter().map(String::as_str).collect();
    let prepare = ["--insecure-options=image", "prepare", "--name=web", net];
    let rest = [image.as_str(), "--", "exit", "0"];
    env.skua(&[&prepare[..], &publish, &rest].concat())
        .success();
    let status = env.skua(&["status", "web"]).success();
    for port in ports {
        let line = format!("publish={port}");
        assert!(
            status.stdout.lines().any(|l| l == line),
            "{}",
            status.report()
        );
    }
    let status = env.skua(&["status", "--format=json", "web"]).success();
    assert_eq!(
        status.json()["ports"][1],
        json!({"host_ip": null, "host_port": 18081, "pod_port": 81, "protocol": "udp"})
    );
}

//! A real server in a pod: nginx from Debian's packages.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use functional::{Env, User, eventually, lax, left_of_networks, nginx_layout, private_host};
use nix::sys::signal::Signal;

#[test]
fn privileged_nginx_answers_through_a_bridge_and_in_the_host_s_network_and_stops_when_asked() {
    let test = "nginx_answers";
    // Before this thread loses the network: the image is made from Debian's packages.
    let Some(layout) = User::root(test).and_then(|_| nginx_layout(test)) else {
        return;
    };
    let Some(root) = private_host(test) else {
        return;
    };
    let env = Env::new(root);
    let image = format!("oci:{}:nginx", layout.display());
    env.skua(&["--insecure-options=image", "fetch", &image])
        .success();
    for (name, flags, address) in [
        (
            "bridged",
            &["--net=default", "--publish=18084:8080"][..],
            "192.0.2.1:18084",
        ),
        ("hosted", &["--net=host"][..], "127.0.0.1:8080"),
    ] {
        let named = format!("--name={name}");
        let run = [lax(flags), "run", "--stop-timeout=20s", &named];
        let mut pod = env.spawn(&[&run[..], flags, &[&image]].concat());
        let page = fetch(address);
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("Welcome to nginx"),
            "{page}"
        );
        assert!(pod.is_running());
        pod.signal(Signal::SIGTERM);
        let run = pod.wait().success();
        assert!(run.elapsed < Duration::from_secs(60), "{}", run.report());
        let status = env.skua(&["status", name, "--format=json"]).success();
        status.says(r#""code": 0"#);
    }
    assert_eq!(left_of_networks(), BTreeSet::new());
}

/// What an HTTP server says about `/`; retried until it is there.
fn fetch(address: &str) -> String {
    let mut page = String::new();
    eventually(&format!("a page from {address}"), || {
        let Ok(mut stream) = TcpStream::connect(address) else {
            return false;
        };
        let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut page).is_ok()
            && !page.is_empty()
    });
    page
}

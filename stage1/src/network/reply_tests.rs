//! Answers of Debian's reference plugins 1.1.1 (`tests/cni/`), and answers of plugins that mean harm.

use super::*;
use serde_json::json;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/cni/", $name, ".json"))
    };
}

fn refused(document: &Value) -> String {
    match result(document.to_string().as_bytes()) {
        Ok(joined) => panic!("accepted: {joined:?}"),
        Err(Unusable::Json(e)) => e.to_string(),
        Err(Unusable::Content(why)) => why,
    }
}

fn with(key: &str, value: Value) -> Value {
    let mut document: Value = serde_json::from_slice(vector!("bridge-add")).unwrap();
    document[key] = value;
    document
}

#[test]
fn results_of_the_reference_plugins_are_understood_and_kept_as_they_are() {
    let (document, joined) = result(vector!("bridge-add")).unwrap();
    assert_eq!(
        document,
        serde_json::from_slice::<Value>(vector!("bridge-add")).unwrap()
    );
    assert_eq!(joined.addresses, ["10.99.0.2/24".parse().unwrap()]);
    assert_eq!(joined.nameservers, Vec::<IpAddr>::new());
    let (_, joined) = result(vector!("lo-add")).unwrap();
    assert_eq!(joined.addresses.len(), 2);
    let (_, joined) = result(vector!("noipam-add")).unwrap();
    assert_eq!(joined, Joined::default());
}

#[test]
fn refusals_of_the_reference_plugins_keep_their_reason() {
    assert_eq!(
        refusal(vector!("bridge-dup"), b""),
        "container veth name provided (eth0) already exists"
    );
    assert!(
        refusal(vector!("v11"), b"").starts_with("incompatible CNI versions: config is \"1.1.0\"")
    );
    assert_eq!(
        refusal(vector!("status"), b""),
        "unknown CNI_COMMAND: STATUS"
    );
    assert_eq!(refusal(b"", b"panic:\n\x1b[1mx"), "panic:\\n\\u{1b}[1mx");
    assert_eq!(refusal(br#"{"code":7}"#, b""), "error 7");
    assert_eq!(refusal(b"", b""), "it gave no reason");
    assert!(refusal(b"", &[b'x'; 10_000]).len() < 700);
}

#[test]
fn what_newer_plugins_leave_out_or_add_is_no_error() {
    let (_, joined) = result(
        br#"{"cniVersion":"1.1.0","interfaces":[{"name":"ib0","mac":"80:00:02:08:fe:80:00:00:00:00:00:00:00:11:22:33:44:55:66:77","mtu":9000,
            "sandbox":"/x","socketPath":"/s"}],"ips":[{"address":"fd00::2/64","interface":0}],
            "routes":[{"dst":"::/0","mtu":1400}],"dns":null}"#,
    )
    .unwrap();
    assert_eq!(joined.addresses, ["fd00::2/64".parse().unwrap()]);
    assert!(result(br#"{"cniVersion":"1.0.0","interfaces":null,"ips":null}"#).is_ok());
}

#[test]
fn dns_settings_cannot_bring_a_line_of_their_own() {
    for dns in [
        json!({"nameservers": ["1.1.1.1\nsearch evil"]}),
        json!({"nameservers": ["$(reboot)"]}),
        json!({"nameservers": ["fe80::1%eth0"]}),
        json!({"nameservers": "1.1.1.1"}),
        json!({"domain": "a\nnameserver 6.6.6.6"}),
        json!({"domain": "a b"}),
        json!({"search": ["ok.example", "x y"]}),
        json!({"search": ["-a"]}),
        json!({"search": ["a..b"]}),
        json!({"search": ["a".repeat(64)]}),
        json!({"search": vec!["a"; 40].into_iter().enumerate().map(|(i, a)| format!("{a}{i}")).collect::<Vec<_>>()}),
        json!({"options": ["rotate\nnameserver 6.6.6.6"]}),
        json!({"options": ["; rm -rf /"]}),
        json!({"nameservers": vec!["1.1.1.1"; 33]}),
    ] {
        refused(&with("dns", dns));
    }
    let (_, joined) = result(
        with("dns", json!({"nameservers": ["9.9.9.9", "2620:fe::fe"], "domain": "a.example", "search": ["a.example", "b.example."],
            "options": ["ndots:2"]}))
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(joined.search, ["a.example", "b.example."]);
    assert_eq!(joined.nameservers.len(), 2);
}

#[test]
fn results_that_lie_are_refused() {
    let eth0 = json!({"name": "eth0", "sandbox": "/run/netns/t1"});
    for name in ["../../etc", "a b", "", "eth0\n"] {
        let interfaces = json!([{"name": name}, {"name": "veth0"}, eth0]);
        let why = refused(&with("interfaces", interfaces));
        assert!(
            why.ends_with("is not the name of an interface"),
            "{name}: {why}"
        );
    }
    for bad in [
        with("cniVersion", json!("0.2.0")),
        with("cniVersion", json!(1)),
        with("interfaces", json!([{"mac": "7a:42:dc:e0:b3:f6"}])),
        with("interfaces", json!({})),
        with("interfaces", json!([])),
        with("ips", json!([{"address": "10.0.0.1/24", "interface": 3}])),
        with("ips", json!([{"address": "10.0.0.1/24", "interface": -1}])),
        with("ips", json!([{"address": "10.0.0.1/99"}])),
        with("ips", json!([{"address": "$(id)"}])),
        with("ips", json!(vec![json!({"address": "10.0.0.1/24"}); 257])),
        with("routes", json!([{"dst": "default"}])),
        with("dns", json!([])),
        json!([]),
        json!("ok"),
        json!({}),
    ] {
        refused(&bad);
    }
    for bad in [
        &b"{} {}"[..],
        b"",
        b"\xff",
        br#"{"cniVersion":"1.0.0","ips":[],"ips":[]}"#,
    ] {
        assert!(result(bad).is_err());
    }
}

#[test]
fn a_plugin_says_which_versions_it_knows() {
    let known =
        versions(br#"{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}"#).unwrap();
    assert_eq!(known, ["0.4.0", "1.0.0"]);
    assert!(versions(vector!("status")).is_err());
}

//! Networks of plugins that are shell scripts: order, chaining, failures, and what they leave.

use serde_json::json;

use super::scratch::*;
use super::*;

/// Answers ADD with this result and everything else with success.
fn gives(address: &str) -> String {
    format!(
        "[ $CNI_COMMAND = ADD ] && echo '{{\"cniVersion\":\"1.0.0\",\"interfaces\":[{{\"name\":\"eth0\",\"sandbox\":\"/x\"}}],\
         \"ips\":[{{\"address\":\"{address}\",\"interface\":0}}]}}'; exit 0"
    )
}

/// Answers ADD with the previous result, as a chained plugin does.
const ECHOES: &str = "[ $CNI_COMMAND = ADD ] && sed -e 's/,\"runtimeConfig\":.*,\"type\"/,\"type\"/' -e 's/.*\"prevResult\":\\({.*}\\),\"type.*/\\1/' $0.ADD.json; exit 0";

const FAILS: &str =
    "[ $CNI_COMMAND = DEL ] && exit 0; printf '%s' '{\"code\":11,\"msg\":\"no\\nway\"}'; exit 1";

const TWO: &str = r#"{"cniVersion":"1.0.0","name":"two","plugins":[{"type":"main","x":{"y":1}},
    {"type":"more","capabilities":{"portMappings":true,"ips":true}}]}"#;

fn one(name: &str, plugin: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"{plugin}"}}]}}"#)
}

fn load(manifest: &PodManifest) -> Result<Networks, String> {
    Networks::load(manifest).map_err(|e| line(&e))
}

#[test]
fn networks_are_joined_in_order_and_left_in_reverse() {
    let scratch = Scratch::new("order");
    let seen = |name: &str| scratch.dir.network(&pod::NetworkName::parse(name).unwrap());
    let record = format!("[ -e {} ] || exit 9; ", seen("two").display());
    scratch.plugin("main", &(record + &gives("10.1.0.2/24")));
    scratch.plugin("more", ECHOES);
    scratch.plugin("other", &gives("fd00::2/64"));
    let networks = vec![
        scratch.conflist("two", TWO),
        scratch.conflist("b", &one("b", "other")),
    ];
    let networks = load(&scratch.manifest(networks)).unwrap();
    assert_eq!(scratch.log(), Vec::<String>::new());
    let joined = networks.add(&scratch.dir, "/netns", None).unwrap();
    assert_eq!(
        scratch.log(),
        [
            "main ADD eth0 /netns",
            "more ADD eth0 /netns",
            "other ADD eth1 /netns"
        ]
    );
    let addresses: Vec<_> = joined.iter().map(|j| j.addresses[0].to_string()).collect();
    assert_eq!(addresses, ["10.1.0.2/24", "fd00::2/64"]);
    assert_eq!(scratch.records(), ["b", "two"]);
    let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}],
        "ips": [{"address": "10.1.0.2/24", "interface": 0}]});
    assert_eq!(
        scratch.read("main.ADD"),
        json!({"cniVersion": "1.0.0", "name": "two", "type": "main", "x": {"y": 1}})
    );
    assert_eq!(scratch.read("more.ADD")["prevResult"], result);

    assert!(del(&scratch.dir, Netns::At("/netns")).is_empty());
    assert_eq!(
        scratch.log(),
        [
            "other DEL eth1 /netns",
            "more DEL eth0 /netns",
            "main DEL eth0 /netns"
        ]
    );
    assert_eq!(scratch.read("main.DEL")["prevResult"], result);
    assert_eq!(scratch.records(), Vec::<String>::new());
    assert!(del(&scratch.dir, Netns::Gone).is_empty());
    assert_eq!(scratch.log(), Vec::<String>::new());
}

#[test]
fn a_network_that_cannot_be_joined_leaves_no_other() {
    let scratch = Scratch::new("fails");
    scratch.plugin("good", &gives("10.1.0.2/24"));
    scratch.plugin("bad", FAILS);
    let networks = vec![
        scratch.conflist("a", &one("a", "good")),
        scratch.conflist(
            "b",
            r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"good"},{"type":"bad"}]}"#,
        ),
        scratch.conflist("c", &one("c", "good")),
    ];
    let error = load(&scratch.manifest(networks))
        .unwrap()
        .add(&scratch.dir, "/n", None)
        .unwrap_err();
    let bad = scratch.root.join("bad");
    assert_eq!(
        line(&error),
        format!(
            "cannot join network 'b': plugin {} refused ADD: no\\nway",
            bad.display()
        )
    );
    assert!(error.further().is_empty());
    assert_eq!(
        scratch.log(),
        [
            "good ADD eth0 /n",
            "good ADD eth1 /n",
            "bad ADD eth1 /n",
            "bad DEL eth1 /n",
            "good DEL eth1 /n",
            "good DEL eth0 /n"
        ]
    );
    // The failed plugin is given at DEL what it was given at ADD.
    assert_eq!(
        scratch.read("bad.DEL")["prevResult"],
        scratch.read("bad.ADD")["prevResult"]
    );
    assert_eq!(scratch.records(), Vec::<String>::new());
}

#[test]
fn a_failed_del_is_reported_and_repeated() {
    let scratch = Scratch::new("repeat");
    let can = scratch.root.join("can");
    scratch.plugin("good", &gives("10.1.0.2/24"));
    let cannot = format!(
        "[ $CNI_COMMAND = DEL ] && [ ! -e {} ] && {{ echo later >&2; exit 1; }}; ",
        can.display()
    );
    scratch.plugin("slow", &(cannot + ECHOES));
    let list = r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"good"},{"type":"slow"}]}"#;
    let networks = load(&scratch.manifest(vec![scratch.conflist("a", list)])).unwrap();
    networks.add(&scratch.dir, "/n", None).unwrap();
    scratch.log();
    let errors = del(&scratch.dir, Netns::At("/n"));
    assert_eq!(errors.len(), 1);
    assert!(
        line(&errors[0]).ends_with("slow refused DEL: later"),
        "{}",
        line(&errors[0])
    );
    assert_eq!(scratch.log(), ["slow DEL eth0 /n", "good DEL eth0 /n"]);
    assert_eq!(scratch.records(), ["a"]);
    fs::write(can, "").unwrap();
    assert!(del(&scratch.dir, Netns::Gone).is_empty());
    assert_eq!(scratch.records(), Vec::<String>::new());
}

#[test]
fn a_network_that_was_being_joined_when_the_keeper_died_is_left() {
    let scratch = Scratch::new("died");
    scratch.plugin("good", &gives("10.1.0.2/24"));
    let networks = load(&scratch.manifest(vec![scratch.conflist("a", &one("a", "good"))])).unwrap();
    make_directory(&scratch.dir).unwrap();
    save(&scratch.dir, &networks.networks[0].record).unwrap();
    fs::remove_file(scratch.root.join("a.conflist")).unwrap();
    assert!(del(&scratch.dir, Netns::Gone).is_empty());
    // As root there is a namespace in place of the one that is gone.
    let log = scratch.log();
    assert!(
        log.len() == 1 && log[0].starts_with("good DEL eth0"),
        "{log:?}"
    );
    assert_eq!(scratch.records(), Vec::<String>::new());
}

#[test]
fn a_record_that_cannot_be_read_is_reported_and_stays() {
    let scratch = Scratch::new("torn");
    make_directory(&scratch.dir).unwrap();
    fs::write(scratch.dir.net().join("a.json"), "{\"version\":1").unwrap();
    assert_eq!(del(&scratch.dir, Netns::Gone).len(), 1);
    assert_eq!(scratch.records(), ["a"]);
}

#[test]
fn hostile_results_are_refused_and_undone() {
    let scratch = Scratch::new("hostile");
    for (answer, said) in [
        (
            "echo '{\"cniVersion\":\"1.0.0\"} {}'",
            "trailing characters",
        ),
        (
            "echo '{\"cniVersion\":\"1.0.0\",\"dns\":{\"search\":[\"a\\\\nb\"]}}'",
            "is not a domain",
        ),
        ("yes", "with more than 1048576 bytes and was killed"),
        ("true", "EOF while parsing"),
        ("echo ok", "expected value"),
    ] {
        scratch.plugin(
            "evil",
            &format!("[ $CNI_COMMAND = DEL ] || {{ {answer}; exit 0; }}"),
        );
        let networks =
            load(&scratch.manifest(vec![scratch.conflist("a", &one("a", "evil"))])).unwrap();
        let error = line(&networks.add(&scratch.dir, "/n", None).unwrap_err());
        assert!(error.contains(said), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(scratch.log(), ["evil ADD eth0 /n", "evil DEL eth0 /n"]);
        assert_eq!(scratch.records(), Vec::<String>::new());
    }
}

#[test]
fn published_ports_and_arguments_reach_the_plugin_that_declares_them() {
    let scratch = Scratch::new("ports");
    scratch.plugin("main", &gives("10.1.0.2/24"));
    scratch.plugin("more", ECHOES);
    let mut two = scratch.conflist("two", TWO);
    two.arguments = vec![
        ("IP".to_owned(), "10.1.0.9/24".to_owned()),
        ("k".to_owned(), "v".to_owned()),
    ];
    let mut manifest = scratch.manifest(vec![scratch.conflist("a", &one("a", "main")), two]);
    manifest.ports = vec![PortMapping {
        host_ip: None,
        host_port: 8080,
        pod_port: 80,
        protocol: pod::Protocol::Tcp,
    }];
    load(&manifest)
        .unwrap()
        .add(&scratch.dir, "/n", None)
        .unwrap();
    assert_eq!(
        scratch.read("more.ADD")["runtimeConfig"],
        json!({"ips": ["10.1.0.9/24"], "portMappings": [{"containerPort": 80, "hostPort": 8080, "protocol": "tcp"}]})
    );
    assert_eq!(scratch.read("main.ADD").get("runtimeConfig"), None);
    assert_eq!(
        scratch.log().last().unwrap(),
        "more ADD eth1 /n IgnoreUnknown=1;k=v"
    );
    if let pod::Network::Cni { networks, .. } = &mut manifest.network {
        networks.truncate(1);
    }
    assert!(load(&manifest).err().unwrap().contains("'portMappings'"));
    manifest.network = pod::Network::None;
    assert!(load(&manifest).is_err());
}

#[test]
fn the_newest_version_that_all_plugins_know_is_spoken() {
    let scratch = Scratch::new("versions");
    let knows = |versions: &str| {
        format!(
            "[ $CNI_COMMAND = VERSION ] && echo '{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[{versions}]}}'; exit 0"
        )
    };
    let list = r#"{"cniVersion":"0.4.0","cniVersions":["1.0.0","1.1.0"],"name":"a","plugins":[{"type":"p"},{"type":"q"}]}"#;
    let manifest = scratch.manifest(vec![scratch.conflist("a", list)]);
    scratch.plugin("p", &knows(r#""0.4.0","1.0.0","1.1.0""#));
    scratch.plugin("q", &knows(r#""0.3.1","0.4.0","1.0.0""#));
    assert_eq!(
        load(&manifest).unwrap().networks[0].record.cni_version,
        "1.0.0"
    );
    scratch.plugin("q", &knows(r#""0.2.0""#));
    assert!(
        load(&manifest)
            .err()
            .unwrap()
            .contains("know none of its CNI versions")
    );
    scratch.plugin("q", &knows(r#""1.1.0""#));
    scratch.log();
    assert_eq!(
        load(&manifest).unwrap().networks[0].record.cni_version,
        "1.1.0"
    );
    assert_eq!(
        scratch.log(),
        ["p VERSION", "q VERSION", "p STATUS", "q STATUS"]
    );
    let full = "[ $CNI_COMMAND = STATUS ] && { echo '{\"code\":50,\"msg\":\"no address left\"}'; exit 1; }; ";
    scratch.plugin("q", &(full.to_owned() + &knows(r#""1.1.0""#)));
    assert!(
        load(&manifest)
            .err()
            .unwrap()
            .ends_with("q refused STATUS: no address left")
    );
}

#[test]
fn what_is_missing_is_noticed_before_anything_runs() {
    let scratch = Scratch::new("missing");
    scratch.plugin("main", &gives("10.1.0.2/24"));
    let error = Networks::load(&scratch.manifest(vec![scratch.conflist("two", TWO)]))
        .err()
        .unwrap();
    assert!(line(&error).contains("cannot find plugin 'more' of network 'two' in /"));
    assert!(
        error
            .hint()
            .unwrap()
            .contains("containernetworking-plugins")
    );
    let again = |name: &str| scratch.conflist(name, &one(name, "main"));
    for (networks, said) in [
        (
            vec![request("nowhere", None)],
            "there is no conflist for network 'nowhere'",
        ),
        (
            vec![request("x", Some("/nonexistent".to_owned()))],
            "cannot read conflist /nonexistent: No such file",
        ),
        (
            vec![request("x", Some("/dev/zero".to_owned()))],
            "not a regular file",
        ),
        (
            vec![again("a"), again("a")],
            "network 'a' is asked for twice",
        ),
        (
            vec![scratch.conflist("b", &one("a", "main"))],
            "it is called 'a'",
        ),
        (
            vec![scratch.conflist("c", "{\"name\":1,\"name\":2}")],
            "key 'name' is there twice",
        ),
    ] {
        let error = load(&scratch.manifest(networks)).err().unwrap();
        assert!(error.contains(said), "{error}");
    }
    for path in ["relative", "/a:/b"] {
        assert!(load(&manifest(vec![again("a")], vec![path.to_owned()])).is_err());
    }
    assert_eq!(scratch.log(), Vec::<String>::new());
}

//! Network configuration lists: loaded from a file of `net.d` or built in, and checked before anything runs.

use std::io;
use std::path::Path;

use pod::{NetworkRequest, small_file};
use serde_json::{Map, Value, json};

use super::error::{NetworkError, quote};
use super::json;

/// The versions of the CNI specification that are spoken, oldest first.
pub(super) const VERSIONS: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];

/// The most bytes of a conflist.
const MAX_CONFLIST: u64 = 1 << 20;

/// The most plugins in a list.
const MAX_PLUGINS: usize = 16;

/// A list of plugins that make up one network.
#[derive(Clone, Debug)]
pub(super) struct Conflist {
    pub(super) name: String,
    /// Those of [`VERSIONS`] that the list is written for, oldest first; not empty.
    pub(super) versions: Vec<&'static str>,
    pub(super) plugins: Vec<Plugin>,
    /// The document itself.
    pub(super) document: Value,
}

/// One plugin of a list.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    /// The name of its program: one path component.
    pub(super) kind: String,
    /// Its configuration without what only the runtime reads.
    pub(super) config: Map<String, Value>,
    /// The capabilities that it declares.
    pub(super) capabilities: Vec<String>,
}

impl Conflist {
    /// The list that a pod asks for.
    pub(super) fn load(request: &NetworkRequest) -> Result<Self, NetworkError> {
        let name = request.name.as_str();
        let document = match &request.conflist {
            Some(path) => read(Path::new(path))?,
            None => built_in(name).ok_or_else(|| NetworkError::NoConflist(name.to_owned()))?,
        };
        let list = Self::parse(document).map_err(|why| unusable(name, why))?;
        if list.name != name {
            let why = format!("it is called '{}'", quote(&list.name));
            return Err(unusable(name, why));
        }
        Ok(list)
    }

    /// Checks a document.
    pub(super) fn parse(document: Value) -> Result<Self, String> {
        let list = document.as_object().ok_or("it is not an object")?;
        let name = text(list, "name")?;
        pod::NetworkName::parse(name).map_err(|e| e.to_string())?;
        let plugins = match list.get("plugins") {
            Some(Value::Array(plugins)) => plugins,
            Some(_) => return Err("'plugins' is not a list".to_owned()),
            None if list.contains_key("type") => {
                return Err(
                    "it is one plugin's configuration; put it into the list 'plugins'".to_owned(),
                );
            }
            None => return Err("it has no 'plugins'".to_owned()),
        };
        if !(1..=MAX_PLUGINS).contains(&plugins.len()) {
            return Err(format!("it does not have 1 to {MAX_PLUGINS} plugins"));
        }
        Ok(Self {
            name: name.to_owned(),
            versions: versions(list)?,
            plugins: plugins
                .iter()
                .map(Plugin::parse)
                .collect::<Result<_, _>>()?,
            document,
        })
    }

    /// Whether some plugin declares the capability.
    pub(super) fn has_capability(&self, capability: &str) -> bool {
        self.plugins
            .iter()
            .any(|plugin| plugin.capabilities.iter().any(|c| c == capability))
    }
}

impl Plugin {
    fn parse(value: &Value) -> Result<Self, String> {
        let mut config = value
            .as_object()
            .ok_or("a plugin is not an object")?
            .clone();
        let kind = component(text(&config, "type")?)?.to_owned();
        match config.get("ipam") {
            None | Some(Value::Null) => {}
            Some(Value::Object(ipam)) if ipam.is_empty() => {}
            Some(Value::Object(ipam)) => _ = component(text(ipam, "type")?)?,
            Some(_) => return Err("'ipam' is not an object".to_owned()),
        }
        let capabilities = match config.remove("capabilities") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(declared)) => declared
                .iter()
                .filter_map(|(name, on)| match on {
                    Value::Bool(true) => Some(Ok(name.clone())),
                    Value::Bool(false) => None,
                    _ => Some(Err(format!(
                        "capability '{}' is not true or false",
                        quote(name)
                    ))),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err("'capabilities' is not an object".to_owned()),
        };
        config.retain(|key, _| {
            !key.starts_with("cni.dev/")
                && !matches!(
                    key.as_str(),
                    "cniVersion" | "name" | "prevResult" | "runtimeConfig"
                )
        });
        Ok(Self {
            kind,
            config,
            capabilities,
        })
    }
}

/// The versions that the list names and we speak.
fn versions(list: &Map<String, Value>) -> Result<Vec<&'static str>, String> {
    let mut named = vec![text(list, "cniVersion")?];
    if let Some(more) = list.get("cniVersions") {
        let more = more.as_array().ok_or("'cniVersions' is not a list")?;
        for version in more {
            named.push(version.as_str().ok_or("a CNI version is not text")?);
        }
    }
    let known: Vec<_> = VERSIONS.into_iter().filter(|v| named.contains(v)).collect();
    if known.is_empty() {
        return Err(format!(
            "its CNI version is {}, and we speak {}",
            quote(&named.join(", ")),
            VERSIONS.join(", ")
        ));
    }
    Ok(known)
}

/// A name that cannot leave a directory.
fn component(kind: &str) -> Result<&str, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=64).contains(&kind.len()) && kind.bytes().all(plain) && !kind.starts_with('.') {
        Ok(kind)
    } else {
        Err(format!(
            "plugin type '{}' is not the name of a program",
            quote(kind)
        ))
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("'{key}' is not text")),
        None => Err(format!("it has no '{key}'")),
    }
}

fn unusable(name: &str, why: String) -> NetworkError {
    NetworkError::Conflist(name.to_owned(), why)
}

fn read(path: &Path) -> Result<Value, NetworkError> {
    let failed = |e| NetworkError::ReadConflist(path.to_owned(), e);
    let file = small_file::open(path).map_err(failed)?;
    // It names programs, and may have changed since stage0 looked at it.
    let caller = nix::unistd::geteuid().as_raw();
    if !small_file::is_of(&file, &[0, caller]).map_err(failed)? {
        let why = "others than root and the caller could have written it";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, why)));
    }
    let bytes = small_file::bytes(file, MAX_CONFLIST).map_err(failed)?;
    json::parse(&bytes).map_err(|e| NetworkError::ParseConflist(path.to_owned(), e))
}

/// The lists that need no file. `default` is `dist/net.d/default.conflist`; a test compares them.
fn built_in(name: &str) -> Option<Value> {
    match name {
        "default" => Some(json!({
            "cniVersion": "1.0.0",
            "name": "default",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "skua0",
                    "isGateway": true,
                    "ipMasq": true,
                    "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{ "subnet": "10.209.0.0/16" }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true } },
                { "type": "firewall" },
            ],
        })),
        "pasta" => Some(json!({
            "cniVersion": "1.0.0",
            "name": "pasta",
            "plugins": [{ "type": "skua-cni-pasta", "capabilities": { "portMappings": true } }],
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(document: &str) -> Result<Conflist, String> {
        Conflist::parse(serde_json::from_str(document).unwrap())
    }

    #[test]
    fn the_sample_is_the_built_in_default() {
        let sample = include_bytes!("../../../dist/net.d/default.conflist");
        let sample = json::parse(sample).unwrap();
        assert_eq!(Some(sample.clone()), built_in("default"));
        let list = Conflist::parse(sample).unwrap();
        assert!(list.has_capability("portMappings"));
        assert_eq!(list.versions, ["1.0.0"]);
        assert_eq!(list.plugins.len(), 3);
    }

    #[test]
    fn the_newest_version_named_is_used_and_an_unknown_one_refused() {
        let with = |versions: &str| {
            parsed(&format!(
                r#"{{"name":"n",{versions},"plugins":[{{"type":"t"}}]}}"#
            ))
            .map(|list| list.versions)
        };
        assert_eq!(with(r#""cniVersion":"0.4.0""#).unwrap(), ["0.4.0"]);
        assert_eq!(
            with(r#""cniVersion":"0.4.0","cniVersions":["1.1.0","1.0.0","9.0.0"]"#).unwrap(),
            VERSIONS
        );
        assert!(
            with(r#""cniVersion":"0.2.0""#)
                .unwrap_err()
                .contains("0.2.0")
        );
        assert!(with(r#""cniVersion":1"#).is_err());
        assert!(with(r#""cniVersions":["1.0.0"]"#).is_err());
    }

    #[test]
    fn only_the_plugins_own_fields_reach_the_plugin() {
        let list = parsed(
            r#"{"cniVersion":"1.0.0","name":"n","extra":1,"plugins":[{"type":"t","name":"x","mine":{"a":[1]},
                "capabilities":{"ips":true,"mac":false},"cni.dev/x":1,"prevResult":{},"runtimeConfig":{}}]}"#,
        )
        .unwrap();
        let plugin = &list.plugins[0];
        assert_eq!(
            Value::Object(plugin.config.clone()),
            json!({"type": "t", "mine": {"a": [1]}})
        );
        assert_eq!(plugin.capabilities, ["ips"]);
    }

    #[test]
    fn a_list_that_could_do_something_else_is_refused() {
        let plugin =
            |plugin: &str| format!(r#"{{"cniVersion":"1.0.0","name":"n","plugins":[{plugin}]}}"#);
        for bad in [
            plugin(r#"{"type":"../bridge"}"#),
            plugin(r#"{"type":"a/b"}"#),
            plugin(r#"{"type":""}"#),
            plugin(r#"{"type":".."}"#),
            plugin(r#"{"type":"a\nb"}"#),
            plugin(r#"{"type":7}"#),
            plugin(r#"{"type":"bridge","ipam":{"type":"../../bin/sh"}}"#),
            plugin(r#"{"type":"bridge","ipam":[]}"#),
            plugin(r#"{"type":"t","capabilities":{"ips":"yes"}}"#),
            plugin(r#"{"type":"t","capabilities":[]}"#),
            plugin(""),
            plugin(&vec![r#"{"type":"t"}"#; 17].join(",")),
            plugin("null"),
            r#"{"cniVersion":"1.0.0","name":"../n","plugins":[{"type":"t"}]}"#.to_owned(),
            r#"{"cniVersion":"1.0.0","plugins":[{"type":"t"}]}"#.to_owned(),
            r#"{"cniVersion":"1.0.0","name":"n","type":"bridge"}"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert!(parsed(&bad).is_err(), "{bad}");
        }
        assert!(parsed(&plugin(r#"{"type":"bridge","ipam":{}}"#)).is_ok());
    }
}

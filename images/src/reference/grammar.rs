//! The parts of a reference, each checked by itself.

use std::net::Ipv6Addr;

use super::ReferenceError;
use crate::escape;

pub(super) fn check_host(given: &str, host: &str) -> Result<(), ReferenceError> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or(""))),
            None => ("", None),
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let port_is_valid = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse().is_ok_and(|port: u16| port != 0)
    });
    let name_is_valid = if host.starts_with('[') {
        name.parse::<Ipv6Addr>().is_ok()
    } else {
        name.split('.').all(is_host_label)
    };
    if name_is_valid && port_is_valid {
        return Ok(());
    }
    Err(ReferenceError::Host {
        given: escape::text(given.as_bytes()),
        host: escape::text(host.as_bytes()),
    })
}

fn is_host_label(label: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
}

pub(super) fn check_repository(given: &str, repository: &str) -> Result<(), ReferenceError> {
    if repository.split('/').all(is_component) {
        return Ok(());
    }
    let given = escape::text(given.as_bytes());
    let lower = repository.to_lowercase();
    if lower != repository && lower.split('/').all(is_component) {
        return Err(ReferenceError::UpperCase { given, lower });
    }
    Err(ReferenceError::Repository {
        given,
        repository: escape::text(repository.as_bytes()),
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = String::new();
    for (at, character) in component.char_indices() {
        match character {
            '.' | '_' | '-' if at > 0 => separator.push(character),
            _ if !u8::try_from(character).is_ok_and(plain) => return false,
            _ if !is_separator(&separator) => return false,
            _ => separator.clear(),
        }
    }
    !component.is_empty() && separator.is_empty()
}

fn is_separator(between: &str) -> bool {
    matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
}

pub(super) fn check_tag(given: &str, tag: &str) -> Result<(), ReferenceError> {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(first)
        && tag
            .bytes()
            .all(|byte| first(byte) || matches!(byte, b'.' | b'-'));
    if valid {
        return Ok(());
    }
    Err(ReferenceError::Tag {
        given: escape::text(given.as_bytes()),
        tag: escape::text(tag.as_bytes()),
    })
}

/// What names an image in an archive of `docker save`: a tag, or a repository with or without one.
pub(super) fn check_docker_name(given: &str, name: &str) -> Result<(), ReferenceError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    if (1..=super::LONGEST_NAME).contains(&name.len()) && name.bytes().all(valid) {
        return Ok(());
    }
    Err(ReferenceError::Tag {
        given: escape::text(given.as_bytes()),
        tag: escape::text(name.as_bytes()),
    })
}

//! Why there is no TLS with a server, for whoever has to do something about it.

use std::error::Error;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::error::RegistryError;

/// The most names of a certificate in a message.
const MAX_NAMES: usize = 5;

/// The error of a handshake with `host`, where its reason is one that somebody can do something about.
pub(super) fn failed(host: &str, error: &reqwest::Error) -> Option<RegistryError> {
    use rustls::Error as E;
    let host = host.to_owned();
    Some(match of_tls(error)? {
        E::InvalidCertificate(CertificateError::UnknownIssuer) => {
            RegistryError::UnknownAuthority(host)
        }
        E::InvalidCertificate(other) => RegistryError::Untrusted {
            host,
            why: why(other),
        },
        E::InvalidMessage(InvalidMessage::InvalidContentType) => RegistryError::NoTls(host),
        E::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => RegistryError::NoIdentity(host),
        _ => return None,
    })
}

/// What TLS says, if that is what failed.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref() {
        return Some(error);
    }
    // An `io::Error` names as its source what is behind the error that it wraps, not that error.
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => of_tls(inner),
        None => error.source().and_then(of_tls),
    }
}

fn why(refused: &CertificateError) -> String {
    use CertificateError as E;
    const RENEW: &str = "(the registry needs a new one, unless this clock is wrong)";
    match refused {
        E::ExpiredContext { time, not_after } => format!(
            "it expired at {}, and the clock here says {} {RENEW}",
            shown(*not_after),
            shown(*time)
        ),
        E::NotValidYetContext { time, not_before } => format!(
            "it is not valid before {}, and the clock here says {} {RENEW}",
            shown(*not_before),
            shown(*time)
        ),
        E::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "it is for {}, not for {} (write the registry's name as its certificate does)",
            names(presented),
            expected.to_str()
        ),
        // The checker of names and dates tells it as it calls it itself.
        E::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it is that of an authority, not of a server (the registry needs one with CA:FALSE, signed by that authority)"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn shown(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || "a time that no clock has".to_owned(),
        |time| time.to_string(),
    )
}

/// Names as TLS writes them, `DnsName("registry.example")`, without what is around them.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name
            .split_once('(')
            .map(|(_, rest)| rest.trim_end_matches(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let mut names: Vec<String> = presented.iter().take(MAX_NAMES).map(bare).collect();
    match presented.len().saturating_sub(MAX_NAMES) {
        0 if names.is_empty() => return "no name".to_owned(),
        0 => {}
        more => names.push(format!("{more} more")),
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bare_and_few() {
        let many = |count: u8| -> Vec<String> {
            (0..count)
                .map(|n| format!("DnsName(\"{n}.test\")"))
                .collect()
        };
        for (presented, expected) in [
            (vec![], "no name"),
            (many(2), "0.test, 1.test"),
            (vec!["IpAddress(192.0.2.1)".to_owned()], "192.0.2.1"),
            (many(7), "0.test, 1.test, 2.test, 3.test, 4.test, 2 more"),
        ] {
            assert_eq!(names(&presented), expected);
        }
    }
}

//! `skua trust list`: the scopes in force and their keys.

use std::process::ExitCode;

use images::trust::{Policy, PublicKey, Rule, Scope, Signed, TrustError};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::output::{Format, print, print_json, table};

/// Runs the command.
pub(super) fn run(format: Format, context: &Context) -> Result<ExitCode, Error> {
    let policy = Policy::load(&context.config("trust.d"))?;
    match format {
        Format::Table => {
            let rows: Vec<Vec<String>> = policy.scopes().flat_map(rows).collect();
            print(&table(&["PREFIX", "RULE", "KEY", "POLICY"], &rows))?;
        }
        Format::Json => {
            let scopes: Vec<Value> = policy.scopes().map(object).collect();
            print_json(&json!({"version": 1, "scopes": scopes}))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One row for each key of the scope, and one for a scope without.
fn rows(scope: &Scope) -> Vec<Vec<String>> {
    let row = |rule: String, key: String| {
        vec![
            scope.prefix.to_string(),
            rule,
            key,
            scope.file.display().to_string(),
        ]
    };
    let Rule::Signed(signed) = &scope.rule else {
        return vec![row(scope.rule.name().to_owned(), "-".to_owned())];
    };
    match signed.keys(&scope.file) {
        Ok(keys) => {
            let rule = rule_of(signed, keys.len());
            keys.iter()
                .map(|key| row(rule.clone(), key_text(key)))
                .collect()
        }
        Err(error) => vec![row(rule_of(signed, signed.given()), unusable(&error))],
    }
}

/// The rule of a scope that wants signatures, in words.
pub(super) fn rule_of(signed: &Signed, keys: usize) -> String {
    let of = format!("signed by {} of {keys}", signed.threshold);
    match &signed.signed_as {
        Some(origin) => format!("{of} as {origin}"),
        None => of,
    }
}

/// A key, short.
pub(super) fn key_text(key: &PublicKey) -> String {
    format!("{} {}", key.kind(), key.fingerprint().short())
}

fn unusable(error: &TrustError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn object(scope: &Scope) -> Value {
    let mut object = json!({
        "prefix": scope.prefix.as_str(),
        "rule": scope.rule.name(),
        "policy": scope.file,
    });
    if let Rule::Signed(signed) = &scope.rule {
        object["threshold"] = json!(signed.threshold);
        object["signed_as"] = json!(signed.signed_as.as_ref().map(|prefix| prefix.as_str()));
        match signed.keys(&scope.file) {
            Ok(keys) => object["keys"] = keys.iter().map(key_object).collect(),
            Err(error) => object["error"] = json!(unusable(&error)),
        }
    }
    object
}

fn key_object(key: &PublicKey) -> Value {
    json!({"kind": key.kind(), "fingerprint": key.fingerprint().to_string()})
}

//! `skua trust test`: each rule and each signature that there is about an image in the store, and what came of it.

use std::process::ExitCode;

use images::reference::ImageName;
use images::store::Image;
use images::trust::{Accepted, Finding, Outcome, Policy, Rule, Scope};

use super::list::{key_text, rule_of};
use crate::context::Context;
use crate::error::Error;
use crate::output::{escaped, print, table};
use crate::trusted::Subject;

/// Runs the command. Like a run it fails when the image is not trusted, after everything was printed.
pub(super) fn run(typed: &str, context: &Context) -> Result<ExitCode, Error> {
    let name = ImageName::parse(typed)?;
    let store = context.store()?;
    let policy = Policy::load(&context.config("trust.d"))?;
    let Some(image) = store.image(&name)? else {
        return Err(rules_alone(&policy, &name)?);
    };
    let evidence = Subject::from(&image).evidence(&store)?;
    let findings = policy.findings(&name, &image.manifest_digest, &image.manifest, &evidence)?;

    let mut text = head(&image);
    text.push_str(&scopes(&policy, &name));
    text.push_str(&signatures(&policy, &name, Some(&findings))?);
    print(&text)?;
    let decided = policy.decide(&name, &image.manifest_digest, &image.manifest, &evidence);
    let decided = decided.map_err(Error::Untrusted)?;
    print(&format!("\ntrusted: {}\n", escaped(&reason(&decided))))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what would be asked of an image that is not in the store, and gives the reason why it cannot be trusted, or why
/// that cannot be told.
fn rules_alone(policy: &Policy, name: &ImageName) -> Result<Error, Error> {
    let mut text = format!("image     {}\n\n", escaped(&name.to_string()));
    text.push_str(&scopes(policy, name));
    text.push_str(&signatures(policy, name, None)?);
    print(&text)?;
    Ok(match policy.decide_by_name(name) {
        Err(refusal) => Error::Refusal(refusal),
        Ok(()) => Error::NotInStore(name.to_string()),
    })
}

fn head(image: &Image) -> String {
    let mut text = format!("image     {}\n", escaped(&image.name.to_string()));
    if let Some(index) = image.index_digest {
        text.push_str(&format!("index     {index}\n"));
    }
    text.push_str(&format!("manifest  {}\n\n", image.manifest_digest));
    text
}

/// Every scope, longest prefix first, and whether it is the image's.
fn scopes(policy: &Policy, name: &ImageName) -> String {
    let identity = name.identity();
    let decides = policy.scope_of(&identity).map(|scope| &scope.prefix);
    let rows: Vec<Vec<String>> = policy
        .scopes()
        .map(|scope| {
            let prefix = &scope.prefix;
            let result = match prefix.covers(&identity) {
                true if decides == Some(prefix) => "decides",
                true => "covers it, but a longer prefix decides",
                false if identity.starts_with(prefix.as_str()) => {
                    "ends in the middle of a component"
                }
                false => "is of other images",
            };
            let policy = scope.file.display().to_string();
            vec![
                prefix.to_string(),
                scope.rule.name().to_owned(),
                policy,
                result.to_owned(),
            ]
        })
        .collect();
    table(&["PREFIX", "RULE", "POLICY", "RESULT"], &rows)
}

/// The keys of the scope that decides, and each signature, where they are known.
fn signatures(
    policy: &Policy,
    name: &ImageName,
    findings: Option<&[Finding]>,
) -> Result<String, Error> {
    let Some(Scope {
        rule: Rule::Signed(signed),
        file,
        ..
    }) = policy.scope_of(&name.identity())
    else {
        return Ok(String::new());
    };
    let keys = signed.keys(file)?;
    let mut text = format!("\n{}:\n", rule_of(signed, keys.len()));
    for key in &keys {
        text.push_str(&format!("  {}\n", key_text(key)));
    }
    let Some(findings) = findings else {
        return Ok(text);
    };
    text.push('\n');
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    if rows.is_empty() {
        text.push_str("no signatures\n");
    } else {
        text.push_str(&table(&["SIGNATURE", "RESULT"], &rows));
    }
    Ok(text)
}

fn row(finding: &Finding) -> Vec<String> {
    let result = match &finding.outcome {
        Outcome::Verified { key, comment: None } => format!("holds: key {}", key.short()),
        Outcome::Verified {
            key,
            comment: Some(comment),
        } => {
            format!("holds: key {}, '{comment}'", key.short())
        }
        Outcome::Failed(failure) => format!("does not count: {failure}"),
    };
    vec![finding.item.clone(), result]
}

fn reason(accepted: &Accepted) -> String {
    match accepted {
        Accepted::Signed { prefix, keys, .. } => {
            let keys: Vec<String> = keys.iter().map(|key| key.short()).collect();
            format!("signed for {prefix} by {}", keys.join(" and "))
        }
        Accepted::DigestPinned { prefix, .. } => {
            format!("{prefix} wants a digest, and the name has it")
        }
        Accepted::InsecureAcceptAnything { prefix, .. } => format!("{prefix} accepts anything"),
    }
}

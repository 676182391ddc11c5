//! Trust: which images may run. A policy of scopes and keys, evidence beside each image, and a decision at every run.
//!
//! Deny by default: without a scope that is satisfied, no image runs. Nothing here uses the network, so that a key taken
//! out of the policy is gone at the next run.

mod algorithm;
mod bundle;
mod cosign;
mod decision;
mod edit;
mod error;
mod file;
mod finding;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod import;
mod key;
mod minisign;
mod policy;
mod prefix;
mod scope;
mod ssh;
mod subject;
mod written;

pub use bundle::{BUNDLE_TYPE, SIGN_PREDICATE};
pub use decision::{Accepted, Reason, Refusal, Unsigned};
pub use edit::{Editor, Heir};
pub use error::{TomlError, TrustError};
pub use finding::{Failure, Finding, Outcome};
#[cfg(any(test, fuzzing))]
pub(crate) use fuzzing::{understand_payload, understand_statement};
pub use import::{Earlier, ImportError, Imported, Unsupported, policy_json};
pub use key::{Fingerprint, KeyError, MAX_KEY_TEXT, PublicKey};
pub use policy::Policy;
pub use prefix::{Prefix, PrefixError};
pub use scope::{Rule, Scope, ScopeError, Signed, read_key};

#[cfg(test)]
mod tests;

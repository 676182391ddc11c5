//! Fixtures of the functional tests: everything that a test needs to drive the real binaries from outside.
//!
//! ```no_run
//! use functional::{Env, Image, Key, Registry, User};
//!
//! let registry = Registry::start();
//! let key = Key::new(1);
//! let image = Image::inspect().build();
//! let name = registry.push_signed("demo/inspect", "1", &image, &key);   // "127.0.0.1:PORT/demo/inspect:1"
//! let env = Env::new(User::ordinary());
//! env.trust(&registry.name("demo"), &key);
//! env.skua(&["fetch", &name]).success();
//! env.skua(&["run", "--net=none", &name, "--", "exit", "7"]).exits(7);
//! env.skua(&["run", "--net=none", "example.org/other"]).fails(&["example.org/other"]);   // 254, one line
//! ```
//!
//! | file | fixture |
//! |---|---|
//! | `binaries.rs` | where the binaries are; refuses missing and stale ones |
//! | `user.rs` | [`User`]: root, an ordinary user with subordinate ids, one without |
//! | `env.rs` | [`Env`]: data and configuration directory of one test, run as one user |
//! | `run.rs` | [`Run`], [`Background`]: what a command did, and assertions that print both sides |
//! | `layer.rs`, `image.rs` | [`Layer`], [`Image`]: OCI images of any content, good or hostile |
//! | `store.rs` | what is in a store; file systems of a test's own |
//! | `doomed.rs` | [`Doomed`]: a process that must not outlive its test |
//! | `stuck.rs` | what a command that does not end waits for |
//! | `systemd.rs` | units, login sessions and their cgroups, in the virtual machines |
//! | `golden.rs` | expectations in files, one for all kernels |
//! | `host.rs` | [`private_host`]: a host of a test's own, for networks; [`hear`] |
//! | `policy.rs` | a host with a `policy.toml` of a test's own; stage1 by hand |
//! | `trace.rs`, `ledger.rs` | the system calls of a command, and what of them a plan accounts for |
//! | `key.rs` | [`Key`]: ed25519 keys; cosign, minisign and raw signatures |
//! | `registry/` | [`Registry`]: a registry on the loopback interface, with authentication and faults |
//! | `manager.rs` | [`Manager`]: a service manager that listens |
//! | `proxy.rs` | [`Proxy`]: tunnels to one address, for whatever host |
//! | `docker_registry.rs`, `debian.rs` | Debian's registry with TLS and a password; real Debian images, a newer Debian's tools |
//! | `bin/inspect/` | the only program inside our own test images: answers questions from inside |
//! | `bin/demo.rs` | `make demo` |

mod binaries;
mod debian;
mod docker_registry;
mod doomed;
mod env;
pub mod golden;
mod host;
mod image;
mod key;
mod layer;
pub mod ledger;
mod manager;
pub mod policy;
mod proxy;
pub mod registry;
mod run;
mod skip;
mod store;
mod stuck;
pub mod systemd;
pub mod telling;
pub mod trace;
mod user;

pub use binaries::{PROGRAMS, binaries, inspect_bytes};
pub use debian::{debian_layout, nginx_layout, read_layout, signing_tools};
pub use docker_registry::DockerRegistry;
pub use doomed::Doomed;
pub use env::Env;
pub use host::{hear, left_of_networks, private_host, sh};
pub use image::{Blob, Built, Image, sha256};
pub use key::{Cosign, Key};
pub use layer::{Compression, Entry, Kind, Layer};
pub use manager::{Manager, Message};
pub use proxy::Proxy;
pub use registry::Registry;
pub use run::{Background, Run, eventually};
pub use skip::{is_root, lax, missing_program, scopes_abstract_sockets, skip};
pub use store::{difference, mount_data, private_mounts, snapshot, store_snapshot};
pub use user::User;

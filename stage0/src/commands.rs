//! One file per subcommand: what it takes, and what it does.

pub(crate) mod cat_manifest;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod enter;
pub(crate) mod explain;
pub(crate) mod fetch;
pub(crate) mod gc;
pub(crate) mod image;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod man;
pub(crate) mod prepare;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod run_prepared;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod trust;
pub(crate) mod version;

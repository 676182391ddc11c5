//! A layer's bytes become a tree.
mod report;
pub use report::LayerReport;

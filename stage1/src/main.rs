//! Placeholder of the first commit.
mod network;
mod sys;
fn main() {}

//! The only program inside our own test images.
fn main() {}

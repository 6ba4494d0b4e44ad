//! The gewu command.
fn main() {}

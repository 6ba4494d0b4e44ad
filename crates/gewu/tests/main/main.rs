//! The whole program on real and bad input, and the rules of the source tree.

mod hub;
mod input;
mod runs;
mod tidy;
mod tool;

//! Instruments on models whose insides are known.

mod account;
mod direction;
mod instruments;
mod planted;

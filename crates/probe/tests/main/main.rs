//! Instruments on models whose insides are known.

mod account;
mod direction;
mod induction;
mod instruments;
mod planted;

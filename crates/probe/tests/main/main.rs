//! Instruments on models whose insides are known.

mod instruments;
mod planted;

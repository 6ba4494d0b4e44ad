//! Alignment: preference optimization, stability control, attacks, guards.

#![forbid(unsafe_code)]

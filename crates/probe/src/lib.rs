//! Instruments that look inside a model, interventions, and their planted-truth twins.

#![forbid(unsafe_code)]

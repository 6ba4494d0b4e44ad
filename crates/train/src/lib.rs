//! Training a model: packing, loops, optimizers, schedules, checkpoints.

#![forbid(unsafe_code)]

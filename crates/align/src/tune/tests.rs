//! Alignment of a tiny model.

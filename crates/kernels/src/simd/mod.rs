//! Sixteen f32 lanes at every level.

//! Intervals, tests and resampling.

//! Data governance: readers, rules, deduplication, privacy, licences, contamination.

mod document;

pub use document::{Document, Field, Record, Source};

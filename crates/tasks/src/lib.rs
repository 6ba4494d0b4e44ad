//! Tasks: an item, its grading, its reward.

//! Packs, retrieval, checked answers with citations.

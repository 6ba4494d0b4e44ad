//! Run folders, content hashes and lineage records.

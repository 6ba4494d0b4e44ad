//! The rules a document passes, in order. One table names them; each lives in its own file.

pub mod contamination;
pub mod near;
pub mod privacy;
pub mod quality;

/// A registered rule.
pub struct Rule {
    /// Name, as decisions and reports write it; a rule of several parts adds `.part`.
    pub name: &'static str,
    /// What it does to a document.
    pub about: &'static str,
}

/// Every rule, in the order of the funnel.
pub const RULES: &[Rule] = &[
    Rule {
        name: "read",
        about: "skips files and rows that are no text: binary, bad encoding, empty, unreadable, malformed",
    },
    Rule {
        name: "deleted",
        about: "keeps out what was deleted on request, however often its source is read again",
    },
    Rule { name: "licence", about: "finds the licence; drops what `licence.allow` does not name" },
    Rule { name: "language", about: "identifies the language; drops what `language.keep` does not name" },
    Rule { name: "privacy", about: "finds personal data and replaces it by its kind" },
    Rule { name: "quality", about: "drops text outside the limits of its language and profile" },
    Rule { name: "contamination", about: "drops documents that hold evaluation items" },
    Rule { name: "duplicate.exact", about: "drops later copies of the same normalized text" },
    Rule { name: "duplicate.near", about: "drops near-copies whose figures the kept document covers" },
];

//! The recipes inside the binary. To add one: a file under `recipes/` and a line here.

/// A recipe that comes with the program.
pub(crate) struct Embedded {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// The first is the default.
pub(crate) const EMBEDDED: &[Embedded] = &[
    Embedded { name: "life-cycle", text: include_str!("../../recipes/life-cycle.toml") },
    Embedded { name: "quick", text: include_str!("../../recipes/quick.toml") },
    Embedded { name: "poetry", text: include_str!("../../recipes/poetry.toml") },
    Embedded { name: "train", text: include_str!("../../recipes/train.toml") },
    Embedded { name: "align", text: include_str!("../../recipes/align.toml") },
    Embedded { name: "probe", text: include_str!("../../recipes/probe.toml") },
    Embedded { name: "mixers", text: include_str!("../../recipes/mixers.toml") },
    Embedded { name: "induction", text: include_str!("../../recipes/induction.toml") },
    Embedded { name: "documents", text: include_str!("../../recipes/documents.toml") },
];

/// The embedded recipe of that name.
pub(super) fn find(name: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|embedded| embedded.name == name)
}

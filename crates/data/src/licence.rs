//! The licence of a document as an SPDX identifier: what it says itself, what its package says, what lies beside it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The word for a licence nobody stated.
pub const UNKNOWN: &str = "unknown";

/// Identifiers accepted as written, with other names they go by (lower case).
const NAMES: &[(&str, &[&str])] = &[
    ("MIT", &["mit license", "the mit license", "expat"]),
    (
        "Apache-2.0",
        &[
            "apache 2.0",
            "apache license 2.0",
            "apache license, version 2.0",
            "apache software license",
            "apache2",
        ],
    ),
    ("BSD-2-Clause", &["bsd 2-clause", "simplified bsd license"]),
    ("BSD-3-Clause", &["bsd", "bsd license", "bsd 3-clause", "new bsd license"]),
    ("ISC", &["isc license"]),
    ("MPL-2.0", &["mozilla public license 2.0"]),
    ("GPL-2.0-only", &["gpl-2.0", "gplv2"]),
    ("GPL-2.0-or-later", &["gpl-2.0+", "gplv2+"]),
    ("GPL-3.0-only", &["gpl-3.0", "gplv3", "gnu general public license v3"]),
    ("GPL-3.0-or-later", &["gpl-3.0+", "gplv3+"]),
    ("LGPL-2.1-only", &["lgpl-2.1"]),
    ("LGPL-2.1-or-later", &["lgpl-2.1+"]),
    ("LGPL-3.0-only", &["lgpl-3.0", "lgplv3"]),
    ("LGPL-3.0-or-later", &["lgpl-3.0+"]),
    ("AGPL-3.0-only", &["agpl-3.0", "agplv3"]),
    ("AGPL-3.0-or-later", &["agpl-3.0+"]),
    ("Unlicense", &["the unlicense"]),
    ("Zlib", &["zlib license"]),
    ("CC0-1.0", &["cc0", "public domain dedication"]),
    ("CC-BY-3.0", &["cc by 3.0"]),
    ("CC-BY-4.0", &["cc by 4.0", "creative commons attribution 4.0", "cc-by"]),
    ("CC-BY-SA-3.0", &["cc by-sa 3.0"]),
    ("CC-BY-SA-4.0", &["cc by-sa 4.0", "cc-by-sa"]),
    ("CC-BY-NC-4.0", &["cc by-nc 4.0"]),
    ("CC-BY-NC-SA-4.0", &["cc by-nc-sa 4.0"]),
    ("CC-BY-ND-4.0", &["cc by-nd 4.0"]),
    ("CC-BY-NC-ND-4.0", &["cc by-nc-nd 4.0"]),
    ("ODC-By-1.0", &["odc-by", "odc by 1.0"]),
    ("ODbL-1.0", &["odbl"]),
    ("PDDL-1.0", &["pddl"]),
    ("GFDL-1.3-or-later", &["gfdl"]),
    ("PSF-2.0", &["python software foundation license"]),
    ("MulanPSL-2.0", &["木兰宽松许可证", "mulan psl v2"]),
];

/// Phrases that identify the text of a licence, most particular first; all phrases of an entry must occur.
const TEXTS: &[(&str, &[&str])] = &[
    ("CC-BY-NC-SA-4.0", &["attribution-noncommercial-sharealike 4.0"]),
    ("CC-BY-NC-ND-4.0", &["attribution-noncommercial-noderivatives 4.0"]),
    ("CC-BY-NC-4.0", &["attribution-noncommercial 4.0"]),
    ("CC-BY-ND-4.0", &["attribution-noderivatives 4.0"]),
    ("CC-BY-SA-4.0", &["attribution-sharealike 4.0"]),
    ("CC-BY-4.0", &["attribution 4.0 international"]),
    ("CC0-1.0", &["cc0 1.0 universal"]),
    ("Apache-2.0", &["apache license", "version 2.0, january 2004"]),
    ("AGPL-3.0-only", &["gnu affero general public license", "version 3, 19 november 2007"]),
    ("LGPL-3.0-only", &["gnu lesser general public license", "version 3, 29 june 2007"]),
    ("LGPL-2.1-only", &["gnu lesser general public license", "version 2.1, february 1999"]),
    ("GPL-3.0-only", &["gnu general public license", "version 3, 29 june 2007"]),
    ("GPL-2.0-only", &["gnu general public license", "version 2, june 1991"]),
    ("MPL-2.0", &["mozilla public license version 2.0"]),
    ("Unlicense", &["this is free and unencumbered software released into the public domain"]),
    ("MulanPSL-2.0", &["木兰宽松许可证", "第2版"]),
    ("BSD-3-Clause", &["redistribution and use in source and binary forms", "neither the name"]),
    ("BSD-2-Clause", &["redistribution and use in source and binary forms"]),
    ("ISC", &["permission to use, copy, modify, and/or distribute this software for any purpose"]),
    ("MIT", &["permission is hereby granted, free of charge, to any person obtaining a copy"]),
];

/// Turns what a source says about its licence (SPDX expression, name, address) into an SPDX expression.
pub fn normalize(stated: &str) -> Option<String> {
    let stated = stated.trim().trim_matches(['"', '\'', '.']);
    let lower = stated.to_lowercase();
    if let Some(found) = creative_commons(&lower) {
        return Some(found);
    }
    let one = |name: &str| {
        let lower = name.trim().trim_matches(['(', ')']).to_lowercase();
        NAMES
            .iter()
            .find(|(id, others)| id.to_lowercase() == lower || others.contains(&lower.as_str()))
            .map(|(id, _)| (*id).to_owned())
    };
    if let Some(id) = one(stated) {
        return Some(id);
    }
    for operator in [" OR ", " AND ", " WITH "] {
        if let Some((left, right)) = stated.split_once(operator) {
            let right = if operator == " WITH " { Some(right.trim().to_owned()) } else { normalize(right) };
            return Some(format!("{}{operator}{}", normalize(left)?, right?));
        }
    }
    // The address of a licence text.
    lower.contains("apache.org/licenses/license-2.0").then(|| "Apache-2.0".to_owned())
}

/// An address like `creativecommons.org/licenses/by-nc-sa/4.0/`.
fn creative_commons(lower: &str) -> Option<String> {
    let at = lower.find("creativecommons.org/")?;
    let mut parts = lower[at..].split(['/', '"', '\'', ' ', '>']).skip(1);
    let (kind, name, version) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let version = if version.starts_with(|c: char| c.is_ascii_digit()) { version } else { "4.0" };
    match (kind, name) {
        ("publicdomain", "zero") => Some("CC0-1.0".into()),
        ("licenses", "by" | "by-sa" | "by-nc" | "by-nd" | "by-nc-sa" | "by-nc-nd") => {
            Some(format!("CC-{}-{version}", name.to_uppercase()))
        }
        _ => None,
    }
}

/// Recognizes the text of a licence file.
pub fn of_text(text: &str) -> Option<&'static str> {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    TEXTS.iter().find(|(_, phrases)| phrases.iter().all(|p| folded.contains(p))).map(|(id, _)| *id)
}

/// The identifier after `SPDX-License-Identifier:` in the first lines of a text.
pub fn of_header(text: &str) -> Option<String> {
    const MARK: &str = "SPDX-License-Identifier:";
    let line = text.lines().take(20).find_map(|line| line.split_once(MARK).map(|(_, rest)| rest))?;
    normalize(line.trim().trim_end_matches("-->").trim_end_matches("*/").trim())
}

/// Whether a file name is that of a licence text.
pub fn is_licence_file(path: &Path) -> bool {
    let name = path.file_stem().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    ["license", "licence", "copying", "unlicense", "许可证"].contains(&name.as_str())
        || name.starts_with("license-")
}

/// Licences of folders: the nearest licence file or package description at or above a folder, within a root.
#[derive(Default)]
pub struct Folders {
    known: HashMap<PathBuf, Option<(String, String)>>,
}

impl Folders {
    /// The licence that holds for files in `folder` and the name of the file that says so.
    pub fn licence(&mut self, folder: &Path, root: &Path) -> Option<(String, String)> {
        if let Some(known) = self.known.get(folder) {
            return known.clone();
        }
        let found = stated_in(folder).or_else(|| {
            let above = folder.parent().filter(|_| folder != root && folder.starts_with(root))?;
            self.licence(above, root)
        });
        self.known.insert(folder.to_path_buf(), found.clone());
        found
    }
}

fn stated_in(folder: &Path) -> Option<(String, String)> {
    let mut names: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).collect();
    names.sort();
    let small = |path: &Path| {
        let metadata = std::fs::metadata(path).ok().filter(|m| m.is_file() && m.len() < 1 << 20)?;
        let _ = metadata;
        Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())
    };
    let label = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    for path in names.iter().filter(|p| is_licence_file(p)) {
        if let Some(text) = small(path)
            && let Some(id) = of_header(&text)
                .or_else(|| of_text(&text).map(str::to_owned))
                .or_else(|| creative_commons(&text.to_lowercase()))
        {
            return Some((id, label(path)));
        }
    }
    for path in &names {
        if let Some(field) = PACKAGES.iter().find(|(name, _)| label(path) == *name).map(|(_, field)| field)
            && let Some(text) = small(path)
            && let Some(id) =
                text.lines().find_map(|line| field_value(line, field)).and_then(|v| normalize(&v))
        {
            return Some((id, label(path)));
        }
    }
    None
}

/// Package descriptions with the key of their licence line.
const PACKAGES: &[(&str, &str)] = &[
    ("Cargo.toml", "license"),
    ("package.json", "\"license\""),
    ("pyproject.toml", "license"),
    ("METADATA", "License"),
    ("PKG-INFO", "License"),
    ("datapackage.json", "\"license\""),
    ("CITATION.cff", "license"),
];

fn field_value(line: &str, field: &str) -> Option<String> {
    let line = line.trim();
    let rest = line
        .strip_prefix(field)
        .or_else(|| line.strip_prefix("License-Expression").filter(|_| field == "License"))?;
    let value = rest.trim_start().strip_prefix([':', '='])?.trim().trim_end_matches(',');
    let value = value.strip_prefix("{ text =").map_or(value, |v| v.trim_end_matches('}').trim());
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_become_spdx() {
        for (stated, id) in [
            ("MIT", Some("MIT")),
            ("cc by 4.0", Some("CC-BY-4.0")),
            ("http://creativecommons.org/licenses/by-nc-sa/4.0/", Some("CC-BY-NC-SA-4.0")),
            ("https://creativecommons.org/publicdomain/zero/1.0/", Some("CC0-1.0")),
            ("MIT OR Apache-2.0", Some("MIT OR Apache-2.0")),
            ("GPL-2.0-only WITH Classpath-exception-2.0", Some("GPL-2.0-only WITH Classpath-exception-2.0")),
            ("all rights reserved", None),
            ("MIT OR whatever", None),
        ] {
            assert_eq!(normalize(stated).as_deref(), id, "{stated}");
        }
        assert_eq!(of_header("// SPDX-License-Identifier: Apache-2.0\ntext").as_deref(), Some("Apache-2.0"));
        assert_eq!(
            of_text("Attribution-NonCommercial-ShareAlike 4.0\n International"),
            Some("CC-BY-NC-SA-4.0")
        );
    }

    #[test]
    fn the_nearest_file_wins_and_the_root_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("root/a/b")).unwrap();
        std::fs::create_dir_all(at("root/c")).unwrap();
        std::fs::write(at("LICENSE"), "Apache License Version 2.0, January 2004").unwrap();
        std::fs::write(at("root/package.json"), "{\n  \"license\": \"MIT\",\n}").unwrap();
        std::fs::write(at("root/a/LICENSE.md"), "Attribution 4.0 International").unwrap();
        let root = at("root");
        let mut folders = Folders::default();
        let mut of = |name: &str| folders.licence(&at(name), &root).map(|(id, _)| id);
        assert_eq!(of("root/a/b").as_deref(), Some("CC-BY-4.0"));
        assert_eq!(of("root/c").as_deref(), Some("MIT"));
        std::fs::remove_file(at("root/package.json")).unwrap();
        assert_eq!(Folders::default().licence(&at("root/c"), &root), None);
    }
}

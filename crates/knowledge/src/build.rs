//! Compiles governed documents into a pack; the file appears only when it is complete.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use data::Document;
use ledger::{Artifact, Derivation, Ledger};
use rusqlite::{Connection, params};

use crate::{
    Error, Pack,
    fact::{self, AliasKind, Facts},
    pack::FILE_NAME,
    packs,
    passage::{self, Passage, word_count},
    terms::index_text,
};

impl Pack {
    /// Compiles `documents` into `folder/pack.sqlite`, replacing a pack that is there only when the new one is
    /// complete, and records passages, facts and the file in the ledger. `progress` receives documents done and in
    /// all. The same documents give the same bytes.
    ///
    /// # Errors
    /// [`Error::EmptyCorpus`] without any text; [`Error::RepeatedDocument`]; file, database and ledger errors.
    pub fn build(
        documents: &[Document],
        folder: impl AsRef<Path>,
        ledger: &mut Ledger,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, Error> {
        let folder = folder.as_ref();
        if documents.iter().all(|d| d.text.trim().is_empty()) {
            return Err(Error::EmptyCorpus);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = documents.iter().find(|d| !seen.insert(d.id.as_str())) {
            return Err(Error::RepeatedDocument(twice.id.clone()));
        }
        let file = |source| Error::File { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(file)?;
        let path = folder.join(FILE_NAME);
        let partial = folder.join(format!("{FILE_NAME}.partial"));
        remove_if_present(&partial)?;
        let written = write(documents, &partial, progress)
            .map_err(|source| Error::Database { path: partial.clone(), source });
        let derivations = match written {
            Ok(derivations) => derivations,
            Err(error) => {
                remove_if_present(&partial)?;
                return Err(error);
            }
        };
        let sync = std::fs::File::open(&partial).and_then(|f| f.sync_all());
        sync.and_then(|()| std::fs::rename(&partial, &path)).map_err(file)?;
        ledger.add_derivations(&derivations)?;
        let bytes = std::fs::metadata(&path).map_err(file)?.len();
        let artifact =
            Artifact { hash: ledger::hash_file(&path)?, kind: "pack".into(), path: FILE_NAME.into(), bytes };
        ledger.add_artifacts(&[artifact])?;
        Self::open(&path)
    }
}

pub(crate) fn remove_if_present(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn write(
    documents: &[Document],
    path: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> rusqlite::Result<Vec<Derivation>> {
    let mut connection = Pack::create(path)?;
    let facts = fact::compile(documents);
    let mut derivations = Vec::new();
    let transaction = connection.transaction()?;
    write_facts(&transaction, documents, &facts, &mut derivations)?;
    let mut units: HashMap<usize, Vec<String>> = HashMap::new();
    for (number, document) in documents.iter().enumerate() {
        transaction.execute(
            "INSERT INTO documents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                number as i64,
                document.id,
                document.source.path,
                document.source.locator,
                document.title.as_deref().unwrap_or_default(),
                document.language,
                document.licence,
                document.text,
                ledger::hash_bytes(&document.text)
            ],
        )?;
        let entity = facts.entity_of.get(&number).copied();
        let names = entity.map(|e| {
            units.entry(e).or_insert_with(|| {
                let entity = &facts.entities[e];
                let aliases = entity.aliases.iter().filter(|(_, kind)| *kind != AliasKind::Number);
                std::iter::once(entity.name.clone()).chain(aliases.map(|(a, _)| a.clone())).collect()
            })
        });
        let owner = entity.map(|e| facts.entities[e].document as i64);
        for (passage, extra, cells) in passages_of(document) {
            // Table rows are found by what they are about: the entity's names and the wordings of the column.
            let about = names.as_ref().map(|n| n.join(" ")).unwrap_or_default();
            let title = document.title.as_deref().unwrap_or_default();
            let text = &document.text[passage.start..passage.end];
            let words = index_text(&format!(
                "{title} {about} {extra} {} {}",
                passage.heading,
                text.replace('_', " ")
            ));
            let heading = match &names {
                Some(names) if passage.heading.is_empty() => names.first().cloned().unwrap_or_default(),
                Some(names) => format!("{}: {}", names.first().map_or("", String::as_str), passage.heading),
                None => passage.heading.clone(),
            };
            transaction.execute(
                "INSERT INTO passages (document, owner, first, last, heading, cells) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![number as i64, owner, passage.start as i64, passage.end as i64, heading, cells],
            )?;
            let id = transaction.last_insert_rowid();
            transaction
                .execute("INSERT INTO passage_index (rowid, terms) VALUES (?1, ?2)", params![id, words])?;
            derivations.push(Derivation {
                parent: document.id.clone(),
                child: format!("passage {id}"),
                kind: "passage".into(),
                location: format!("bytes {}..{}", passage.start, passage.end),
            });
        }
        progress(number + 1, documents.len());
    }
    transaction.execute("INSERT INTO passage_index (passage_index) VALUES ('optimize')", [])?;
    transaction.commit()?;
    connection.execute_batch("VACUUM")?;
    Ok(derivations)
}

fn write_facts(
    connection: &Connection,
    documents: &[Document],
    facts: &Facts,
    derivations: &mut Vec<Derivation>,
) -> rusqlite::Result<()> {
    for (id, entity) in facts.entities.iter().enumerate() {
        connection.execute(
            "INSERT INTO entities VALUES (?1, ?2, ?3)",
            params![id as i64, entity.document as i64, entity.name],
        )?;
        for (alias, kind) in &entity.aliases {
            connection.execute(
                "INSERT INTO aliases VALUES (?1, ?2, ?3)",
                params![id as i64, alias, *kind as i64],
            )?;
        }
    }
    for (id, relation) in facts.relations.iter().enumerate() {
        connection.execute(
            "INSERT INTO relations VALUES (?1, ?2, ?3, ?4)",
            params![id as i64, relation.key, relation.name, relation.zh],
        )?;
        for phrase in &relation.phrases {
            connection.execute("INSERT INTO phrases VALUES (?1, ?2)", params![id as i64, phrase])?;
        }
    }
    for (id, fact) in facts.facts.iter().enumerate() {
        let second = fact.second.as_ref();
        connection.execute(
            "INSERT INTO facts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                id as i64,
                fact.entity as i64,
                fact.relation as i64,
                fact.qualifier,
                fact.value,
                fact.place.document as i64,
                fact.place.start as i64,
                fact.place.end as i64,
                fact.unit,
                second.map(|s| s.document as i64),
                second.map(|s| s.start as i64),
                second.map(|s| s.end as i64),
                fact.cited
            ],
        )?;
        for place in [Some(&fact.place), second].into_iter().flatten() {
            derivations.push(Derivation {
                parent: documents[place.document].id.clone(),
                child: format!("fact {id}"),
                kind: "fact".into(),
                location: format!("bytes {}..{}", place.start, place.end),
            });
        }
    }
    Ok(())
}

/// The passages of a document, each with the words questions use for it. A row gives one passage per column of
/// prose and one for each stretch of short columns, marked as cells.
fn passages_of(document: &Document) -> Vec<(Passage, String, bool)> {
    let Some(record) = &document.record else {
        return passage::passages(&document.text).into_iter().map(|p| (p, String::new(), false)).collect();
    };
    const PROSE_WORDS: f64 = 6.0;
    let mut out = Vec::new();
    let mut short: Vec<(usize, usize)> = Vec::new();
    for (field, place) in record.fields.iter().zip(fact::field_places(document, record)) {
        let Some((start, end)) = place else { continue };
        let known = packs::column(&record.table, &field.name);
        if word_count(&field.value) < PROSE_WORDS {
            let from = start - field.name.len() - 2;
            match short.last_mut() {
                // Neighbouring lines: only the line break lies between.
                Some((_, last)) if *last + 1 == from => *last = end,
                _ => short.push((from, end)),
            }
            continue;
        }
        let heading = known.map_or_else(|| field.name.replace('_', " "), |c| c.name.to_owned());
        let extra = known.map(|c| format!("{} {}", c.zh, c.phrases.join(" "))).unwrap_or_default();
        for piece in passage::passages(&document.text[start..end]) {
            let passage =
                Passage { start: start + piece.start, end: start + piece.end, heading: heading.clone() };
            out.push((passage, extra.clone(), false));
        }
    }
    for (start, end) in short {
        out.push((Passage { start, end, heading: String::new() }, String::new(), true));
    }
    if out.is_empty() && !document.text.trim().is_empty() {
        out.extend(passage::passages(&document.text).into_iter().map(|p| (p, String::new(), true)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, pack, prose};

    #[test]
    fn the_same_documents_give_the_same_bytes() {
        let (_a, first) = pack(&elements());
        let (_b, second) = pack(&elements());
        assert_eq!(std::fs::read(first.path()).unwrap(), std::fs::read(second.path()).unwrap());
    }

    #[test]
    fn nothing_to_compile_is_an_error_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("l.sqlite")).unwrap();
        let target = folder.path().join("pack");
        for documents in [vec![], vec![prose("a.txt", " \n")]] {
            let error = Pack::build(&documents, &target, &mut ledger, &mut |_, _| {}).unwrap_err();
            assert!(matches!(error, Error::EmptyCorpus), "{error}");
        }
        let twice = vec![prose("a.txt", "x"), prose("a.txt", "x")];
        let error = Pack::build(&twice, &target, &mut ledger, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::RepeatedDocument(_)));
        assert!(!target.join(FILE_NAME).exists());
    }

    #[test]
    fn damaged_packs_are_refused() {
        let (_dir, built) = pack(&elements());
        let path = built.path().to_owned();
        drop(built);
        let bytes = std::fs::read(&path).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut blown = bytes.clone();
        blown[4096..].fill(0x5a);
        for (name, content) in
            [("cut", &bytes[..bytes.len() / 2]), ("text", b"not a pack"), ("empty", b""), ("blown", &blown)]
        {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            let error = Pack::open(&file).map(|p| p.size()).unwrap_err();
            assert!(matches!(error, Error::Pack { .. }), "{name}: {error}");
        }
        assert!(Pack::open(folder.path().join("absent")).unwrap_err().to_string().contains("no such file"));
        // A flipped byte inside a text is found when that text is to be cited.
        let mut flipped = bytes.clone();
        let places: Vec<usize> =
            (0..bytes.len()).filter(|&i| bytes[i..].starts_with(b"density: 19.3")).collect();
        places.iter().for_each(|&i| flipped[i + 9] = b'8');
        let file = folder.path().join("flipped");
        std::fs::write(&file, flipped).unwrap();
        let opened = Pack::open(&file).unwrap();
        let error = crate::look_up(&opened, "What is the density of gold?", &Default::default()).unwrap_err();
        assert!(error.to_string().contains("not the one that was stored"), "{error}");
    }
}

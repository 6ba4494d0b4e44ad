//! Deletion: every row made from a document goes, the freed bytes are overwritten, and the file is read again to show
//! that nothing is left.

use std::path::PathBuf;

use rusqlite::{Connection, params};

use crate::{Error, Pack, lexicon::Lexicon};

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeletionReport {
    /// The documents that were in the pack and are gone.
    pub documents: Vec<String>,
    /// Ids the pack never held.
    pub unknown: Vec<String>,
    /// Passages removed.
    pub passages: usize,
    /// Facts removed.
    pub facts: usize,
    /// Entities removed.
    pub entities: usize,
    /// Bytes of the file that were searched for remains.
    pub scanned: u64,
}

/// Bytes of a piece of deleted text looked for in the file, and pieces per document. Short enough to lie inside one
/// database page.
const PIECE: usize = 32;
const PIECES: usize = 64;

impl Pack {
    /// Removes documents and everything compiled from them, then proves it: no row refers to them, and neither their
    /// ids nor pieces of text that only they contained occur in the bytes of the file.
    ///
    /// # Errors
    /// [`Error::NotDeleted`] if anything was found afterwards; database errors, after which nothing is removed.
    pub fn delete(&mut self, ids: &[String]) -> Result<DeletionReport, Error> {
        let mut report = DeletionReport::default();
        let mut numbers = Vec::new();
        let mut pieces: Vec<String> = Vec::new();
        for id in ids {
            let Some(number) = self.number_of(id)? else {
                report.unknown.push(id.clone());
                continue;
            };
            numbers.push(number);
            report.documents.push(id.clone());
        }
        for &number in &numbers {
            let text: String = self.read(|c| {
                c.query_row("SELECT text FROM documents WHERE id = ?1", [number], |row| row.get(0))
            })?;
            pieces.extend(pieces_of(&text));
        }
        let path = self.path.clone();
        let fail = |source| Error::Database { path: path.clone(), source };
        let transaction = self.connection.transaction().map_err(fail)?;
        for &number in &numbers {
            remove(&transaction, number, &mut report).map_err(fail)?;
        }
        transaction
            .execute("INSERT INTO passage_index (passage_index) VALUES ('optimize')", [])
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
        self.connection.execute_batch("VACUUM").map_err(fail)?;
        self.lexicon = Lexicon::load(&self.connection).map_err(fail)?;
        // What other documents also say is no trace of the deleted ones.
        let mut own = Vec::new();
        for piece in pieces {
            let elsewhere: bool = self.read(|c| {
                c.prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE instr(text, ?1))")?
                    .query_row([&piece], |row| row.get(0))
            })?;
            if !elsewhere {
                own.push(piece);
            }
        }
        report.scanned = self.prove(&report.documents, &own)?;
        Ok(report)
    }

    /// Searches the bytes of the file.
    fn prove(&self, ids: &[String], pieces: &[String]) -> Result<u64, Error> {
        let bytes =
            std::fs::read(&self.path).map_err(|source| Error::File { path: self.path.clone(), source })?;
        for wanted in ids.iter().chain(pieces) {
            if contains(&bytes, wanted.as_bytes()) {
                return Err(Error::NotDeleted { path: self.path.clone(), what: format!("`{wanted}`") });
            }
        }
        Ok(bytes.len() as u64)
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let pattern = regex::escape(&String::from_utf8_lossy(wanted));
    regex::bytes::Regex::new(&pattern).is_ok_and(|r| r.is_match(bytes))
}

/// Pieces of a text, spread over it.
fn pieces_of(text: &str) -> Vec<String> {
    if text.len() <= PIECE {
        return if text.trim().len() < 8 { Vec::new() } else { vec![text.to_owned()] };
    }
    let step = (text.len() / PIECES).max(PIECE);
    (0..text.len() - PIECE)
        .step_by(step)
        .filter_map(|at| {
            let start = (at..text.len()).find(|&i| text.is_char_boundary(i))?;
            let end = (start + PIECE..=text.len()).find(|&i| text.is_char_boundary(i))?;
            Some(text[start..end].to_owned())
        })
        .collect()
}

/// Removes all rows of one document. A fact whose unit it gave keeps its value and loses the unit; a fact whose value
/// was reached through one of its cells goes.
fn remove(connection: &Connection, number: i64, report: &mut DeletionReport) -> rusqlite::Result<()> {
    let entities = "SELECT id FROM entities WHERE document = ?1";
    report.facts += connection.execute(
        &format!(
            "DELETE FROM facts WHERE document = ?1 OR entity IN ({entities}) OR (second = ?1 AND unit = '')"
        ),
        [number],
    )?;
    connection.execute(
        "UPDATE facts SET unit = '', cited = '', second = NULL, second_first = NULL, second_last = NULL WHERE second = ?1",
        [number],
    )?;
    connection.execute(&format!("DELETE FROM aliases WHERE entity IN ({entities})"), [number])?;
    report.entities += connection.execute("DELETE FROM entities WHERE document = ?1", [number])?;
    let passages: Vec<i64> = connection
        .prepare_cached("SELECT id FROM passages WHERE document = ?1 OR owner = ?1")?
        .query_map([number], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in passages {
        connection.execute("DELETE FROM passage_index WHERE rowid = ?1", params![id])?;
        report.passages += connection.execute("DELETE FROM passages WHERE id = ?1", [id])?;
    }
    connection.execute("DELETE FROM documents WHERE id = ?1", [number])?;
    let unused = "NOT IN (SELECT DISTINCT relation FROM facts)";
    connection.execute(&format!("DELETE FROM phrases WHERE relation {unused}"), [])?;
    connection.execute(&format!("DELETE FROM relations WHERE id {unused}"), [])?;
    Ok(())
}

impl data::Derived for Pack {
    fn name(&self) -> String {
        "pack".into()
    }

    fn remove(&mut self, ids: &[String]) -> Result<u64, String> {
        let report = self.delete(ids).map_err(|e| e.to_string())?;
        Ok((report.passages + report.facts + report.entities + report.documents.len()) as u64)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn holds(&self, id: &str, fragments: &[String]) -> Result<bool, String> {
        let held = self.number_of(id).map_err(|e| e.to_string())?.is_some();
        let mut found = held;
        for fragment in fragments {
            found |= self
                .read(|c| {
                    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE instr(text, ?1))")?
                        .query_row([fragment], |row| row.get::<_, bool>(0))
                })
                .map_err(|e| e.to_string())?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, pack, prose};

    #[test]
    fn a_deleted_document_leaves_nothing() {
        let mut documents = elements();
        documents.push(prose("secret.md", &"王小明的秘密实验记录，编号七十三，从未发表过。".repeat(40)));
        let (_dir, mut pack) = pack(&documents);
        let before = pack.size().unwrap();
        let ids = vec![documents.last().unwrap().id.clone(), documents[1].id.clone(), "unknown".into()];
        assert!(std::fs::read(pack.path()).unwrap().windows(9).any(|w| w == "王小明".as_bytes()));
        let report = pack.delete(&ids).unwrap();
        assert_eq!((report.documents.len(), report.unknown.len()), (2, 1));
        let after = pack.size().unwrap();
        assert_eq!(after.documents, before.documents - 2);
        assert!(report.facts > 0 && report.entities == 1 && after.facts < before.facts);
        let bytes = std::fs::read(pack.path()).unwrap();
        for trace in ["王小明", "jewelry", "1337.33 K", ids[0].as_str(), ids[1].as_str()] {
            assert!(!contains(&bytes, trace.as_bytes()), "{trace}");
        }
        assert!(pack.search("jewelry 秘密实验", 5).unwrap().is_empty());
        assert!(pack.lexicon.link("gold", &[]).mentions.is_empty());
        drop(pack.delete(&[]).unwrap());
    }

    #[test]
    fn a_deleted_unit_goes_and_the_value_stays() {
        let documents = elements();
        let (_dir, mut pack) = pack(&documents);
        pack.delete(&[documents[8].id.clone()]).unwrap();
        let facts = pack.all_facts().unwrap();
        let density = facts.iter().find(|f| f.value == "19.3").unwrap();
        assert!(density.unit.is_empty() && density.cited.is_empty() && density.second.is_none());
    }
}

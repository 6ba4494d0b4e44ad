//! Following one id through the ledger, backwards to its sources and forwards to what was made of it.

use std::collections::BTreeSet;

use crate::{AnswerRow, Decision, Deletion, Derivation, DocumentRow, Error, Ledger};

/// A derivation with its distance from the traced id.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// 1 for what the id itself was made from or into.
    pub distance: usize,
    /// The derivation.
    #[serde(flatten)]
    pub derivation: Derivation,
}

/// All the ledger knows about an id.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Trace {
    /// The id.
    pub id: String,
    /// The document, if the id is one.
    pub document: Option<DocumentRow>,
    /// The answer, if the id is one.
    pub answer: Option<AnswerRow>,
    /// Decisions about it, in order.
    pub decisions: Vec<Decision>,
    /// Deletions of it.
    pub deletions: Vec<Deletion>,
    /// What it was made from, nearest first.
    pub sources: Vec<Step>,
    /// What was made from it, nearest first.
    pub products: Vec<Step>,
}

impl Trace {
    /// Whether the ledger has never heard of the id.
    pub fn is_unknown(&self) -> bool {
        self.document.is_none()
            && self.answer.is_none()
            && self.decisions.is_empty()
            && self.deletions.is_empty()
            && self.sources.is_empty()
            && self.products.is_empty()
    }
}

impl Ledger {
    /// Everything known about `id`: a document, shard, passage or answer.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn trace(&self, id: &str) -> Result<Trace, Error> {
        Ok(Trace {
            id: id.to_owned(),
            document: self.document(id)?,
            answer: self.answer(id)?,
            decisions: self.decisions(id)?,
            deletions: self.deletions(id)?,
            sources: self.walk(id, Direction::Sources)?,
            products: self.walk(id, Direction::Products)?,
        })
    }

    /// Ids of documents, answers and derived things that begin with `prefix`, at most `limit`, in order.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ids_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<String>, Error> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT id FROM documents WHERE substr(id, 1, length(?1)) = ?1
                     UNION SELECT id FROM answers WHERE substr(id, 1, length(?1)) = ?1
                     UNION SELECT child FROM derivations WHERE substr(child, 1, length(?1)) = ?1
                     ORDER BY 1 LIMIT ?2",
                )?
                .query_map((prefix, limit as i64), |row| row.get(0))?
                .collect()
        })
    }

    fn document(&self, id: &str) -> Result<Option<DocumentRow>, Error> {
        self.one(
            "SELECT id, path, locator, hash, title, language, licence, bytes FROM documents WHERE id = ?1",
            id,
            |row| {
                Ok(DocumentRow {
                    id: row.get(0)?,
                    path: row.get(1)?,
                    locator: row.get(2)?,
                    hash: row.get(3)?,
                    title: row.get(4)?,
                    language: row.get(5)?,
                    licence: row.get(6)?,
                    bytes: row.get::<_, i64>(7)? as u64,
                })
            },
        )
    }

    fn answer(&self, id: &str) -> Result<Option<AnswerRow>, Error> {
        self.one("SELECT id, question, answer, outcome FROM answers WHERE id = ?1", id, |row| {
            Ok(AnswerRow {
                id: row.get(0)?,
                question: row.get(1)?,
                answer: row.get(2)?,
                outcome: row.get(3)?,
            })
        })
    }

    fn decisions(&self, id: &str) -> Result<Vec<Decision>, Error> {
        self.all(
            "SELECT document, rule, action, value, threshold, detail FROM decisions WHERE document = ?1 ORDER BY sequence",
            id,
            |row| {
                Ok(Decision {
                    document: row.get(0)?,
                    rule: row.get(1)?,
                    action: row.get(2)?,
                    value: row.get(3)?,
                    threshold: row.get(4)?,
                    detail: row.get(5)?,
                })
            },
        )
    }

    fn deletions(&self, id: &str) -> Result<Vec<Deletion>, Error> {
        self.all(
            "SELECT document, reason, evidence FROM deletions WHERE document = ?1 ORDER BY sequence",
            id,
            |row| Ok(Deletion { document: row.get(0)?, reason: row.get(1)?, evidence: row.get(2)? }),
        )
    }

    fn walk(&self, id: &str, direction: Direction) -> Result<Vec<Step>, Error> {
        let sql = match direction {
            Direction::Sources => {
                "SELECT parent, child, kind, location FROM derivations WHERE child = ?1 ORDER BY sequence"
            }
            Direction::Products => {
                "SELECT parent, child, kind, location FROM derivations WHERE parent = ?1 ORDER BY sequence"
            }
        };
        let mut steps = Vec::new();
        let mut seen = BTreeSet::from([id.to_owned()]);
        let mut frontier = vec![id.to_owned()];
        let mut distance = 0;
        while !frontier.is_empty() {
            distance += 1;
            let mut next = Vec::new();
            for id in &frontier {
                let found = self.all(sql, id, |row| {
                    Ok(Derivation {
                        parent: row.get(0)?,
                        child: row.get(1)?,
                        kind: row.get(2)?,
                        location: row.get(3)?,
                    })
                })?;
                for derivation in found {
                    let other = match direction {
                        Direction::Sources => &derivation.parent,
                        Direction::Products => &derivation.child,
                    };
                    if seen.insert(other.clone()) {
                        next.push(other.clone());
                    }
                    steps.push(Step { distance, derivation });
                }
            }
            frontier = next;
        }
        Ok(steps)
    }

    fn one<T>(
        &self,
        sql: &str,
        id: &str,
        read: impl FnMut(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        Ok(self.all(sql, id, read)?.into_iter().next())
    }

    fn all<T>(
        &self,
        sql: &str,
        id: &str,
        read: impl FnMut(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        self.read(|connection| connection.prepare_cached(sql)?.query_map([id], read)?.collect())
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Sources,
    Products,
}

#[cfg(test)]
mod tests;

//! Where surviving documents wait: a temporary file without a name, which no crash can leave behind.

use std::{
    fs::File,
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use ledger::{Decision, DocumentRow, Ledger};

use crate::{Document, Error};

pub(super) struct Spool {
    folder: PathBuf,
    writer: BufWriter<File>,
    reader: Mutex<File>,
    /// Offset and length of each document.
    places: Vec<(u64, u32)>,
    end: u64,
    documents: Vec<DocumentRow>,
    decisions: Vec<Decision>,
}

impl Spool {
    pub(super) fn create(folder: &Path) -> Result<Self, Error> {
        let failed = || Error::io(folder, "making a temporary file; is there space?");
        let file = tempfile::tempfile_in(folder).map_err(failed())?;
        let reader = Mutex::new(file.try_clone().map_err(failed())?);
        let writer = BufWriter::with_capacity(1 << 20, file);
        let (documents, decisions) = (Vec::new(), Vec::new());
        Ok(Self {
            folder: folder.to_path_buf(),
            writer,
            reader,
            places: Vec::new(),
            end: 0,
            documents,
            decisions,
        })
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(self.folder.clone(), "writing a temporary file; is there space?")
    }

    /// Adds a document, as a line of JSON without its end.
    pub(super) fn append(&mut self, line: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(line.len())
            .map_err(|_| Error::Config(format!("a document of {} bytes; split it below 4 GB", line.len())))?;
        let failed = self.failed();
        self.writer.write_all(line).map_err(failed)?;
        self.places.push((self.end, length));
        self.end += u64::from(length);
        Ok(())
    }

    /// Keeps rows for the ledger until [`Spool::flush_rows`].
    pub(super) fn rows(&mut self, row: DocumentRow, decisions: Vec<Decision>) {
        self.documents.push(row);
        self.decisions.extend(decisions);
    }

    /// Writes the kept rows, in one transaction each.
    pub(super) fn flush_rows(&mut self, ledger: &mut Ledger) -> Result<(), Error> {
        ledger.add_documents(&self.documents)?;
        ledger.add_decisions(&self.decisions)?;
        self.documents.clear();
        self.decisions.clear();
        Ok(())
    }

    /// Ends the writing; from here on documents can be read.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let failed = self.failed();
        self.writer.flush().map_err(failed)
    }

    /// Bytes of a document's line.
    pub(super) fn bytes(&self, document: u32) -> u64 {
        self.places.get(document as usize).map_or(0, |(_, length)| u64::from(*length))
    }

    /// The line of a document.
    pub(super) fn line(&self, document: u32) -> Result<Vec<u8>, Error> {
        let (offset, length) = self.places.get(document as usize).copied().unwrap_or_default();
        let mut line = vec![0; length as usize];
        // The lock holds for the seek and the read; another thread's panic cannot leave the file in a bad state.
        let mut file = self.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut line))
            .map_err(Error::io(&self.folder, "reading a temporary file"))?;
        Ok(line)
    }

    /// A document.
    pub(super) fn document(&self, document: u32) -> Result<Document, Error> {
        serde_json::from_slice(&self.line(document)?).map_err(|error| Error::Corpus {
            path: self.folder.clone(),
            problem: format!("the temporary file is damaged ({error}); run again"),
        })
    }
}

//! Text of PDF files, through `pdf-extract`. A file it cannot read, or breaks on, is refused; the rest goes on.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use super::{Draft, Emit, Refusal};

thread_local! {
    /// Set while the library runs: its panics become refusals and print nothing.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

pub(super) fn read(bytes: &[u8], emit: &mut Emit<'_>) -> Result<(), Refusal> {
    if !bytes.starts_with(b"%PDF-") {
        return Err(Refusal::whole("malformed", "no `%PDF-` at the start"));
    }
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    QUIET.set(true);
    let pages = catch_unwind(AssertUnwindSafe(|| pdf_extract::extract_text_from_mem_by_pages(bytes)));
    QUIET.set(false);
    let pages = match pages {
        Ok(Ok(pages)) => pages,
        Ok(Err(error)) => return Err(Refusal::whole("malformed", error.to_string())),
        Err(_) => return Err(Refusal::whole("malformed", "the PDF library gave up on this file")),
    };
    let text = pages.iter().map(|p| p.trim()).filter(|p| !p.is_empty()).collect::<Vec<_>>().join("\n\n");
    if text.is_empty() {
        return Err(Refusal::whole("empty", format!("{} pages without text (scanned?)", pages.len())));
    }
    let mut draft = Draft { text, ..Draft::default() };
    draft.metadata.insert("pages".into(), pages.len().to_string());
    emit(Ok(draft));
    Ok(())
}

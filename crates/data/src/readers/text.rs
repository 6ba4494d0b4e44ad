//! Plain text files.

use super::{Draft, Emit, Refusal, decode};

pub(super) fn read(bytes: &[u8], emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let (text, encoding) = decode(bytes)?;
    let mut draft = Draft { text, ..Draft::default() };
    if encoding != "UTF-8" {
        draft.metadata.insert("encoding".into(), encoding.into());
    }
    emit(Ok(draft));
    Ok(())
}

//! From an error to a message and an exit code: 1 if the work failed, 2 if the usage or an input was bad.

use std::io::ErrorKind;

/// A request that cannot be carried out as it stands.
#[derive(Debug)]
struct BadInput(String);

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// An error that ends the program with exit code 2.
pub(crate) fn bad_input(message: impl Into<String>) -> anyhow::Error {
    BadInput(message.into()).into()
}

/// The whole chain of causes in one line, without repeating a cause that its parent already printed.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// 2 if any cause is the user's input, otherwise 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_bad_input) { 2 } else { 1 }
}

fn is_bad_input(cause: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        return matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::IsADirectory | ErrorKind::NotADirectory
        );
    }
    if let Some(error) = cause.downcast_ref::<model::Error>() {
        return !matches!(error, model::Error::File { .. });
    }
    if let Some(error) = cause.downcast_ref::<ledger::Error>() {
        return !matches!(error, ledger::Error::File { .. } | ledger::Error::Database { .. });
    }
    if let Some(error) = cause.downcast_ref::<data::Error>() {
        return !matches!(
            error,
            data::Error::Io { .. } | data::Error::Ledger(_) | data::Error::Derived { .. }
        );
    }
    if let Some(error) = cause.downcast_ref::<knowledge::Error>() {
        use knowledge::Error;
        return matches!(
            error,
            Error::EmptyCorpus | Error::RepeatedDocument(_) | Error::Pack { .. } | Error::Request(_)
        );
    }
    if let Some(error) = cause.downcast_ref::<eval::Error>() {
        return matches!(error, eval::Error::Request(_) | eval::Error::DamagedLog { .. });
    }
    cause.is::<BadInput>() || cause.is::<toml::de::Error>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn codes_follow_the_cause() {
        let full: anyhow::Error = std::io::Error::from(ErrorKind::StorageFull).into();
        assert_eq!(exit_code(&full.context("writing")), 1);
        let missing: anyhow::Error = std::io::Error::from(ErrorKind::NotFound).into();
        assert_eq!(exit_code(&missing.context("reading")), 2);
        assert_eq!(exit_code(&bad_input("no such key")), 2);
        let request: anyhow::Error = model::Error::Request("提示太长".into()).into();
        assert_eq!(exit_code(&request), 2);
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = Err::<(), _>(bad_input("inner")).context("outer: inner").unwrap_err();
        assert_eq!(message(&error), "outer: inner");
        let error = Err::<(), _>(bad_input("inner")).context("outer").unwrap_err();
        assert_eq!(message(&error), "outer: inner");
    }
}

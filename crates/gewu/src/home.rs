//! Where pulled inputs live: `GEWU_HOME`, or `gewu` in the user's cache folder.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::failure::bad_input;

/// The cache folder; it may not exist yet.
pub(crate) fn home() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = set("GEWU_HOME") {
        return Ok(home);
    }
    let cache = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    cache.map(|cache| cache.join("gewu")).ok_or_else(|| {
        bad_input("there is no user cache folder; set GEWU_HOME to a folder for pulled inputs")
    })
}

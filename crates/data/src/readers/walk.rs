//! Finding the files of a source, sorted, whatever the file system's order.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::Refusal;

/// A file of a source, or what stands in its place.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Bytes, as the file system says.
    pub bytes: u64,
    /// Why it is not to be read.
    pub refusal: Option<Refusal>,
}

/// Lists a file, or a folder and everything under it, sorted by name. Hidden entries, special files, unreadable
/// folders and links that lead back are listed with a refusal.
pub fn walk(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    visit(root, &mut seen, &mut found);
    found
}

fn visit(path: &Path, seen: &mut HashSet<PathBuf>, found: &mut Vec<Found>) {
    let refuse = |rule, detail: String| Found {
        path: path.to_path_buf(),
        bytes: 0,
        refusal: Some(Refusal::whole(rule, detail)),
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return found.push(refuse("unreadable", error.to_string())),
    };
    if metadata.is_file() {
        return found.push(Found { path: path.to_path_buf(), bytes: metadata.len(), refusal: None });
    }
    if !metadata.is_dir() {
        return found.push(refuse("unsupported", "not a regular file".into()));
    }
    // A folder is read once under its real name, so a link that leads back ends here.
    match path.canonicalize() {
        Ok(real) if !seen.insert(real.clone()) => {
            return found.push(refuse("link", format!("leads to {}, already read", real.display())));
        }
        Ok(_) => {}
        Err(error) => return found.push(refuse("unreadable", error.to_string())),
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return found.push(refuse("unreadable", error.to_string())),
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => names.push(entry.file_name()),
            Err(error) => found.push(refuse("unreadable", error.to_string())),
        }
    }
    names.sort();
    for name in names {
        let inside = path.join(&name);
        if name.to_string_lossy().starts_with('.') {
            let refusal = Some(Refusal::whole("hidden", "name starts with a dot"));
            found.push(Found { path: inside, bytes: 0, refusal });
        } else {
            visit(&inside, seen, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_loops_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        std::fs::write(at("b/z.txt"), "z").unwrap();
        std::fs::write(at("a.txt"), "a").unwrap();
        std::fs::write(at(".hidden"), "h").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path(), at("b/loop")).unwrap();
            std::os::unix::fs::symlink(at("nowhere"), at("broken.txt")).unwrap();
        }
        let found = walk(dir.path());
        let names: Vec<(String, Option<&str>)> = found
            .iter()
            .map(|f| (super::super::relative(dir.path(), &f.path), f.refusal.as_ref().map(|r| r.rule)))
            .collect();
        let expected = [
            (".hidden", Some("hidden")),
            ("a.txt", None),
            ("b/loop", Some("link")),
            ("b/z.txt", None),
            ("broken.txt", Some("unreadable")),
        ];
        let expected: Vec<(String, Option<&str>)> =
            expected.iter().map(|(n, r)| (n.to_string(), *r)).collect();
        assert_eq!(names, expected);
    }
}

//! The files of the project, for tests that look at all of them.

use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 9] =
    ["target", ".git", "node_modules", ".venv", "logs", "lib", "weir-data", "artifacts", "inputs"];
/// Ends of files that people read.
const TEXTS: [&str; 10] = ["rs", "md", "toml", "sh", "js", "py", "go", "java", "json", "xml"];

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

#[track_caller]
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every text of the project: sources, documents, settings, scripts.
pub(crate) fn texts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort();
    assert!(found.len() > 100, "the project has more files than {}", found.len());
    found
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !FOREIGN.contains(&&*name) {
            collect(&path, into);
        } else if path.is_file() && (is_text(&name) || is_script(&path)) {
            into.push(path);
        }
    }
}

fn is_text(name: &str) -> bool {
    let end = name.rsplit_once('.').map(|(_, end)| end);
    end.is_some_and(|end| TEXTS.contains(&end)) && name != "package-lock.json"
}

fn is_script(path: &Path) -> bool {
    path.extension().is_none() && std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"#!"))
}

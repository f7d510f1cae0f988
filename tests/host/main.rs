//! Readers of the host, on trees of files as Linux shows them: energy counters, processes, the facts of the machine; and the model
//! that stands in where there is no counter.

mod model;
mod process;
mod processor;
mod rapl;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A folder with files in it; a folder that a file lies in is made.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.root().join(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

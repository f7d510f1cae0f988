//! Where documents and data are found: an explicit path, then the working folder, then the user's configuration
//! folder, then the copies inside the program.

pub mod session;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::arch::hugging_face;
use crate::document::{Diagnostic, Kind, Library, Node, Origin, Text, nearest};

static MODELS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/models");
static HARDWARE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/hardware_profiles");
static GRID: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/grid_profiles");
static MEASUREMENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/measurements");
static SCENARIOS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// No document that people write is larger; a larger file is something else.
pub const LARGEST_FILE: u64 = 1_000_000;
/// No table of runs is larger.
pub const LARGEST_TABLE: u64 = 50 * LARGEST_FILE;

/// The places that are searched.
#[derive(Debug, Clone)]
pub struct Store {
    folders: Vec<PathBuf>,
}

/// A document that can be found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its path, or `embedded:path`.
    pub file: String,
}

impl Store {
    /// The working folder, the user's configuration folder and the embedded copies.
    #[must_use]
    pub fn standard() -> Self {
        let configuration = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
            .map(|folder| folder.join("lowcarb"));
        Self { folders: std::iter::once(PathBuf::from(".")).chain(configuration).collect() }
    }

    /// The embedded copies alone.
    #[must_use]
    pub fn embedded() -> Self {
        Self { folders: Vec::new() }
    }

    /// Every document of a kind, each name once: the copy that would be used.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut add = |name: String, file: String| {
            if !entries.iter().any(|entry| entry.name == name) {
                entries.push(Entry { name, file });
            }
        };
        for folder in &self.folders {
            let Ok(files) = std::fs::read_dir(folder.join(folder_of(kind))) else { continue };
            for path in files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "toml")) {
                add(stem(&path), path.display().to_string());
            }
        }
        for (path, _) in embedded_files(kind) {
            add(stem(Path::new(&path)), format!("embedded:{path}"));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// Every table of yearly grid intensities and every other data file's side-car, as paths.
    #[must_use]
    pub fn data_files(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for root in &self.folders {
            let Ok(files) = std::fs::read_dir(root.join(folder)) else { continue };
            names.extend(files.flatten().filter(|f| f.path().is_file()).map(|f| format!("{folder}/{}", f.file_name().to_string_lossy())));
        }
        let (root, below) = folder.split_once('/').unwrap_or((folder, ""));
        let embedded = embedded_folder(root).and_then(|whole| if below.is_empty() { Some(whole) } else { whole.get_dir(below) });
        names.extend(embedded.into_iter().flat_map(Dir::files).map(|file| format!("{root}/{}", file.path().display())));
        names.sort();
        names.dedup();
        names
    }

    /// The name or alias of these kinds that is most like `name`.
    #[must_use]
    pub fn nearest(&self, kinds: &[Kind], name: &str) -> Option<String> {
        let names = kinds.iter().flat_map(|kind| self.list(*kind)).map(|entry| entry.name);
        let aliases = kinds.iter().flat_map(|kind| embedded_files(*kind)).flat_map(|(_, text)| aliases(text));
        let known: Vec<String> = names.chain(aliases).collect();
        nearest(name, known.iter().map(String::as_str))
    }

    fn by_name(&self, kind: Kind, name: &str) -> Option<Result<Text, Diagnostic>> {
        let wanted = name.to_lowercase();
        for folder in &self.folders {
            let folder = folder.join(folder_of(kind));
            let exact = folder.join(format!("{name}.toml"));
            if exact.is_file() {
                return Some(read_file(&exact, LARGEST_FILE));
            }
            // Names differ in case, or an alias in the file is meant; a file that cannot be read is not looked into.
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
            let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
            files.sort();
            if let Some(path) = files.iter().find(|path| stem(path).to_lowercase() == wanted) {
                return Some(read_file(path, LARGEST_FILE));
            }
            let read = files.iter().filter_map(|path| read_file(path, LARGEST_FILE).ok());
            if let Some(text) = read.into_iter().find(|text| is_alias(&text.text, &wanted)) {
                return Some(Ok(text));
            }
        }
        let files = embedded_files(kind);
        let exact = files.iter().find(|(path, _)| stem(Path::new(path)).to_lowercase() == wanted);
        let found = exact.or_else(|| files.iter().find(|(_, text)| is_alias(text, &wanted)));
        found.map(|(path, text)| Ok(Text { file: format!("embedded:{path}"), text: (*text).to_string() }))
    }
}

impl Library for Store {
    fn parse(&self, kind: Kind, text: &Text) -> Result<Node, Diagnostic> {
        match kind {
            Kind::Model if text.file.ends_with(".json") => hugging_face::import(&Node::parse_json(&text.file, &text.text)?),
            _ => Node::parse(&text.file, &text.text),
        }
    }

    fn find(&self, kind: Kind, name: &str, origin: &Origin) -> Result<Text, Diagnostic> {
        if name.contains(['/', '\\']) || name.ends_with(".toml") || name.ends_with(".json") {
            let path = Path::new(name);
            // A folder as Hugging Face saves a model holds its configuration.
            let inside = path.join("config.json");
            return if kind == Kind::Model && inside.is_file() {
                read_file(&inside, LARGEST_FILE)
            } else if path.exists() {
                read_file(path, LARGEST_FILE)
            } else {
                Err(Diagnostic::new(origin, "", format!("no file \"{name}\""), format!("a {} file that exists", kind.word())))
            };
        }
        if let Some(text) = self.by_name(kind, name) {
            return text;
        }
        let inside = Path::new(name).join("config.json");
        if kind == Kind::Model && inside.is_file() {
            return read_file(&inside, LARGEST_FILE);
        }
        let entries = self.list(kind);
        let known: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let nearest = self.nearest(&[kind], name);
        Err(Diagnostic { nearest, ..Diagnostic::unknown(origin, "", kind.word(), name, &known) })
    }

    fn data(&self, path: &str, origin: &Origin) -> Result<Text, Diagnostic> {
        for folder in &self.folders {
            let file = folder.join(path);
            if file.is_file() {
                return read_file(&file, 50 * LARGEST_FILE);
            }
        }
        let embedded = path.split_once('/').and_then(|(folder, rest)| embedded_folder(folder)?.get_file(rest));
        match embedded.and_then(|file| file.contents_utf8()) {
            Some(text) => Ok(Text { file: format!("embedded:{path}"), text: text.to_string() }),
            None => Err(Diagnostic::new(origin, "", format!("no file {path}"), "a data file of the profile folders or of measurements")),
        }
    }
}

/// The copies of data files inside the program.
fn embedded_folder(name: &str) -> Option<&'static Dir<'static>> {
    match name {
        "grid_profiles" => Some(&GRID),
        "hardware_profiles" => Some(&HARDWARE),
        "measurements" => Some(&MEASUREMENTS),
        _ => None,
    }
}

fn folder_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "models",
        Kind::Accelerator => "hardware_profiles/accelerators",
        Kind::Node => "hardware_profiles/nodes",
        Kind::Stack => "hardware_profiles/stacks",
        Kind::Calibration => "hardware_profiles/calibrations",
        Kind::Scenario => "scenarios",
    }
}

fn embedded_files(kind: Kind) -> Vec<(String, &'static str)> {
    let (directory, prefix) = match kind {
        Kind::Model => (Some(&MODELS), "models/"),
        Kind::Accelerator => (HARDWARE.get_dir("accelerators"), "hardware_profiles/"),
        Kind::Node => (HARDWARE.get_dir("nodes"), "hardware_profiles/"),
        Kind::Stack => (HARDWARE.get_dir("stacks"), "hardware_profiles/"),
        Kind::Calibration => (HARDWARE.get_dir("calibrations"), "hardware_profiles/"),
        Kind::Scenario => (Some(&SCENARIOS), "scenarios/"),
    };
    directory
        .into_iter()
        .flat_map(Dir::files)
        .filter(|file| file.path().extension().is_some_and(|e| e == "toml"))
        .filter_map(|file| file.contents_utf8().map(|text| (format!("{prefix}{}", file.path().display()), text)))
        .collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether `wanted`, in lower case, is an alias in a file; the file's other quoted text is not looked at.
fn is_alias(text: &str, wanted: &str) -> bool {
    text.contains(wanted) && aliases(text).iter().any(|alias| alias == wanted)
}

fn aliases(text: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with("aliases")).unwrap_or_default();
    line.split('"').skip(1).step_by(2).map(str::to_lowercase).collect()
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// The file is missing, a folder, too large or not UTF-8.
pub fn read_file(path: &Path, limit: u64) -> Result<Text, Diagnostic> {
    use std::io::Read;
    let file = path.display().to_string();
    let origin = Origin::whole(&file);
    let failed = |error: std::io::Error| Diagnostic::new(&origin, "", error.to_string(), "a readable text file");
    if path.is_dir() {
        return Err(Diagnostic::new(&origin, "", "a folder", "a text file"));
    }
    let mut bytes = Vec::new();
    // One byte beyond the limit tells a larger file without reading it, also where a size is not known beforehand.
    std::fs::File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Diagnostic::new(
            &origin,
            "",
            format!("more than {} MB", limit / 1_000_000),
            format!("at most {} MB", limit / 1_000_000),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Text { file, text }),
        _ => Err(Diagnostic::new(&origin, "", "binary data", "a text file in UTF-8")),
    }
}

/// The SHA-256 of a text in hexadecimal digits.
#[must_use]
pub fn hash(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file so that it is there whole or not at all: beside its place, then moved there.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    write_whole_by(path, |out| out.write_all(text.as_bytes()))
}

/// The same of what a function writes.
///
/// # Errors
/// The folder cannot be written to, or the function says so.
pub fn write_whole_by(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    let written = || {
        let mut out = BufWriter::new(std::fs::File::create(&beside)?);
        write(&mut out)?;
        out.flush()?;
        std::fs::rename(&beside, path)
    };
    written().inspect_err(|_| {
        std::fs::remove_file(&beside).ok();
    })
}

/// The first 12 hexadecimal digits of the SHA-256 of a text: which copy was used.
#[must_use]
pub fn short_hash(text: &str) -> String {
    hash(text).chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_case_all_find_the_file() {
        let store = Store::embedded();
        let file = |name: &str| store.find(Kind::Accelerator, name, &Origin::whole("test")).unwrap().file;
        assert_eq!(file("H100-SXM5-80GB"), file("h100"));
        assert_eq!(file("V100-sxm2-32gb"), file("v100"));
        let error = store.find(Kind::Accelerator, "h10", &Origin::whole("test")).unwrap_err();
        assert_eq!(error.nearest.as_deref(), Some("h100"));
    }

    #[test]
    fn a_hash_is_stable() {
        assert_eq!(short_hash("abc"), "ba7816bf8f01");
    }
}

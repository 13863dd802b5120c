//! Where data comes from.

mod contents;
mod folder;
mod idx;
mod keyed;
mod known;
mod npy;
mod parts;
mod records;

use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};
use crate::split::{HoldOut, Splits};

pub use records::RECORDS_SYNTAX;

/// How a source is opened. The default holds out a tenth of the training samples, at most 5,000, for validation.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Where the known data sets are; else [`default_data_dir`].
    pub data_dir: Option<PathBuf>,
    /// Training samples held out for validation, where the source has no validation samples of its own.
    pub validation: Option<HoldOut>,
    /// Samples held out for testing, where the source has no test samples of its own; else there are none.
    pub test: Option<HoldOut>,
    /// Decides which samples are held out. Keep it from command to command, or validation samples become training
    /// samples.
    pub split_seed: u64,
    /// Added to every label; see [`crate::Preprocessing::labels_offset`].
    pub labels_offset: i64,
}

impl OpenOptions {
    fn dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }
}

/// `$SLIMNET_DATA`, else `slimnet` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`), else in the temporary
/// folder.
pub fn default_data_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("SLIMNET_DATA") {
        return folder;
    }
    let cache = variable("XDG_CACHE_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("slimnet")
}

/// A data set by name or by path.
///
/// * `digits` (built in), `mnist`, `fashion-mnist`, `cifar10`.
/// * A folder with IDX files, of which names with `train` and with `t10k` or `test` tell the parts; or a file of images
///   among them, whose labels are beside it. Each may be gzip-compressed.
/// * A folder with the files of CIFAR-10's binary version.
/// * A folder with one folder of PNG or JPEG files a class; or with `train` and perhaps `val` and `test`, of which each
///   is such a folder. `?channels=1` or `3` after the path reads all as gray or as RGB.
/// * An `.npz` or `.safetensors` file: `x` and `y`, or with `_train`, `_val`, `_test` (or `train_`, …). The array `y`,
///   `label(s)` or `target(s)` is what to learn, classes if it is one integer a sample; every other is an input.
/// * Raw records, see [`RECORDS_SYNTAX`].
///
/// `?split=FILE` after the path of a source of one part gives each sample's part, as `train`, `validation` or `test`,
/// one a line.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Known(known::Known),
    Records(records::Records),
    Path { path: PathBuf, query: Query },
}

impl Source {
    /// From what the user wrote. Looks whether a path exists, not at what it holds.
    ///
    /// # Errors
    /// If the text is neither a known name nor a path that exists, or if the options after `?` are wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let kind = if let Some(known) = known::Known::named(text) {
            Kind::Known(known)
        } else if let Some(rest) = text.strip_prefix("records:") {
            let (path, query) = split_query(rest)?;
            Kind::Records(records::Records::parse(path, &query)?)
        } else {
            let (path, query) = split_query(text)?;
            if !path.exists() {
                return Err(DataError::UnknownSource(text.to_owned()));
            }
            query.only(&["split", "channels"])?;
            Kind::Path { path, query }
        };
        Ok(Self { name: text.to_owned(), kind })
    }

    /// Reads it.
    ///
    /// # Errors
    /// If files are missing, damaged or do not fit together. See [`DataError`].
    pub fn open(&self, options: &OpenOptions) -> Result<Splits> {
        let parts = match &self.kind {
            Kind::Known(known) => known.open(&options.dir())?,
            Kind::Records(records) => records.open()?,
            Kind::Path { path, query } => open_path(path, query)?,
        };
        parts.assemble(&self.name, options)
    }
}

fn open_path(path: &Path, query: &Query) -> Result<parts::Parts> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let channels = match query.get("channels") {
        None => None,
        Some("1") => Some(1),
        Some("3") => Some(3),
        Some(other) => return Err(DataError::option("channels", other, "1 or 3")),
    };
    let mut parts = match extension.as_deref() {
        _ if path.is_dir() => {
            if idx::is_in(path)? {
                idx::open_folder(path)?
            } else if known::is_cifar(path) {
                known::open_cifar(path)?
            } else if folder::is_one(path)? {
                folder::open(path, channels)?
            } else {
                return Err(DataError::UnknownFormat(path.to_owned()));
            }
        }
        Some("npz") => keyed::open_npz(path)?,
        Some("safetensors") => keyed::open_safetensors(path)?,
        _ if idx::is_name(path) => idx::open_file(path)?,
        _ => return Err(DataError::UnknownFormat(path.to_owned())),
    };
    parts.roles = query.get("split").map(PathBuf::from);
    Ok(parts)
}

/// Options after a path.
#[derive(Debug, Clone, Default)]
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(DataError::option("option after the path", key, known.join(", "))),
        }
    }
}

/// Parts `PATH?key=value&…`. A path that exists as it is has no options.
fn split_query(text: &str) -> Result<(PathBuf, Query)> {
    let whole = PathBuf::from(text);
    let Some((path, query)) = text.rsplit_once('?').filter(|_| !whole.exists()) else {
        return Ok((whole, Query::default()));
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in query.split('&') {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| pairs.iter().all(|(old, _)| old != key)) else {
            return Err(DataError::option("options after the path", query, "key=value&key=value, each key once"));
        };
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok((PathBuf::from(path), Query(pairs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str| format!("{}/{name}", folder.path().display());
        std::fs::write(text("odd?name=1.npz"), b"").unwrap();
        std::fs::create_dir(text("images")).unwrap();
        assert!(matches!(Source::parse("mnist").unwrap().kind, Kind::Known(_)));
        let Kind::Path { path, query } = Source::parse(&text("odd?name=1.npz")).unwrap().kind else { panic!() };
        assert!(path.exists() && query.0.is_empty());
        let Kind::Path { path, query } = Source::parse(&text("images?channels=1&split=f")).unwrap().kind else {
            panic!()
        };
        assert!(path.exists());
        assert_eq!(query.get("channels"), Some("1"));
        assert!(matches!(Source::parse("mnits"), Err(DataError::UnknownSource(_))));
        for wrong in ["images?chanels=1", "images?channels", "images?split=a&split=b", "images?"] {
            assert!(matches!(Source::parse(&text(wrong)), Err(DataError::Option { .. })), "{wrong}");
        }
        let open = |name: &str| Source::parse(&text(name)).unwrap().open(&OpenOptions::default()).unwrap_err();
        assert!(matches!(open("images"), DataError::UnknownFormat(_)));
        std::fs::write(text("a.txt"), b"").unwrap();
        assert!(matches!(open("a.txt"), DataError::UnknownFormat(_)));
        assert!(matches!(open("images?channels=2"), DataError::Option { .. }));
    }
}

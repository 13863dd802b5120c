//! What can be wrong with data.

use std::path::{Path, PathBuf};

/// Result with a [`DataError`].
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// What is wrong with data or with how it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The text names neither a known data set nor something that exists.
    #[error(
        "`{0}` is neither a data set (digits, mnist, fashion-mnist, cifar10) nor an existing file or folder; \
         formats that cannot be told from the path are named before it, as in `records:PATH?shape=1x49x10`"
    )]
    UnknownSource(String),
    /// A path exists, but what it holds is no known format.
    #[error(
        "{}: cannot tell the format; expected IDX files, CIFAR-10 binary files, one folder of PNG or JPEG images a \
         class, .npz or .safetensors; raw records are named as `records:PATH?shape=…`", .0.display()
    )]
    UnknownFormat(PathBuf),
    /// An option has a value that it cannot have.
    #[error("{key}: expected {expected}, found `{found}`")]
    Option {
        /// The option's name.
        key: String,
        /// The value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A known data set is not there.
    #[error("data set {name} is not there: no {}; run `slimnet data fetch {name}` or set --data-dir", .file.display())]
    Missing {
        /// The data set.
        name: &'static str,
        /// The file that was looked for, without the `.gz` it may have.
        file: PathBuf,
    },
    /// The operating system refuses.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its format demands.
    #[error("{}: expected {expected}, found {found}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file ends before all it declares, or goes on after it.
    #[error(
        "{}: expected {expected} bytes of data, found {found}; the file is damaged or of another format",
        .path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that the file declares.
        expected: u64,
        /// Bytes that there are (`at least` this many, where reading stopped).
        found: u64,
    },
    /// A part of the data has no samples.
    #[error("{0} has no samples")]
    Empty(String),
    /// Arrays that belong together have different numbers of samples.
    #[error("`{name}` has {found} samples, expected {expected} as the inputs have")]
    Count {
        /// The array.
        name: String,
        /// Samples of the first input.
        expected: usize,
        /// Samples of this array.
        found: usize,
    },
    /// Shapes do not go together.
    #[error("`{name}`: expected {expected}, found shape {found:?}")]
    Shape {
        /// The array.
        name: String,
        /// What would do.
        expected: String,
        /// Shape of one sample.
        found: Vec<usize>,
    },
    /// A label is not the index of a class.
    #[error(
        "label of sample {sample} is {found}, expected 0 to {}; check --labels-offset and the network's output",
        classes - 1
    )]
    Label {
        /// Index of the sample in its file or array.
        sample: usize,
        /// The label, the offset added.
        found: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A number is NaN or infinite, also after it became `f32`.
    #[error("`{name}`: sample {sample} has {value} at position {position:?}; expected a finite number")]
    NotFinite {
        /// The array.
        name: String,
        /// Index of the sample in its array.
        sample: usize,
        /// Position inside the sample.
        position: Vec<usize>,
        /// The value.
        value: f64,
    },
    /// An integer that `f32` cannot hold exactly.
    #[error(
        "`{name}`: sample {sample} has {value} at position {position:?}, which has no exact float32; rescale the data"
    )]
    Inexact {
        /// The array.
        name: String,
        /// Index of the sample in its array.
        sample: usize,
        /// Position inside the sample.
        position: Vec<usize>,
        /// The value.
        value: String,
    },
    /// Elements of a type that is not read.
    #[error("`{name}`: elements of type {found} are not supported; expected {expected}")]
    ElementType {
        /// The array.
        name: String,
        /// Its type.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// A split was asked for that the data does not have.
    #[error("the data has no {0} samples")]
    NoPart(&'static str),
    /// A thread that makes batches ended without a word.
    #[error("a thread that makes batches has ended; this is a defect of slimnet, please report it")]
    Worker,
}

impl DataError {
    /// Wraps an error of the operating system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn format(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), expected: expected.into(), found: found.into() }
    }

    pub(crate) fn option(key: &str, found: &str, expected: impl Into<String>) -> Self {
        Self::Option { key: key.to_owned(), found: found.to_owned(), expected: expected.into() }
    }
}

//! ONNX in and out.

use std::collections::BTreeMap;

#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/onnx.rs"]
pub mod proto;
mod budget;
mod constant;
mod error;
mod external;
mod lift;
mod lower;
mod memory_map;
mod own;
mod read;
mod save;
mod schema;
mod sketch;
mod sort;
mod subgraph;
mod tensor;
mod types;
mod weigh;
mod write;

pub use error::{ExternalProblem, ReadError, ReadProblem, WriteError};
pub use read::{read_bytes, read_file};
pub use save::{write_file, write_file_with};
pub use tensor::{TensorProtoError, tensor_from_proto, tensor_to_proto};
pub use write::{WriteOptions, Written, write_bytes, written_size};

/// What a file says of the model around its graph.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// Version of the file format (`ir_version`).
    pub ir_version: i64,
    /// Imported operator sets: domain (empty for the default one) and version. Nodes inside are kept in the semantics of
    /// [`SEMANTICS`]; the writer returns to the version that stands here.
    pub opsets: Vec<(String, i64)>,
    /// The tool that wrote the file.
    pub producer_name: String,
    /// Its version.
    pub producer_version: String,
    /// The model's name space.
    pub domain: String,
    /// The model's version.
    pub model_version: i64,
    /// The file's text about the model.
    pub doc_string: String,
    /// The model's `metadata_props`; ours are under `slimnet.`.
    pub metadata: Vec<(String, String)>,
    /// Model-local functions, kept whole.
    pub functions: Vec<proto::FunctionProto>,
    /// Parts of the file that slimnet does not look into, kept whole.
    pub kept: KeptParts,
}

/// Parts of a model that slimnet does not look into and writes back as they were.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeptParts {
    /// The model's `training_info`.
    pub training_info: Vec<proto::TrainingInfoProto>,
    /// The model's `configuration` (devices).
    pub configuration: Vec<proto::DeviceConfigurationProto>,
    /// The graph's `quantization_annotation`.
    pub quantization_annotation: Vec<proto::TensorAnnotation>,
    /// Whether the file says anything of the types of intermediate values; if so, so does the one that is written.
    pub value_info: bool,
    /// Types with denotations (what an axis or a value is for), by name of the value.
    pub denotations: BTreeMap<String, proto::TypeProto>,
    /// On which devices a node runs, by the name of its first output.
    pub devices: BTreeMap<String, Vec<proto::NodeDeviceConfigurationProto>>,
}

/// The operator set version whose semantics nodes have inside the program.
pub const SEMANTICS: i64 = 21;

impl Default for ModelInfo {
    /// A new model of slimnet's own.
    fn default() -> Self {
        Self {
            ir_version: 10,
            opsets: vec![(String::new(), SEMANTICS)],
            producer_name: "slimnet".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            domain: String::new(),
            model_version: 0,
            doc_string: String::new(),
            metadata: Vec::new(),
            functions: Vec::new(),
            kept: KeptParts::default(),
        }
    }
}

impl ModelInfo {
    /// Version of the default operator set that the file has.
    pub fn opset(&self) -> Option<i64> {
        self.opsets.iter().find(|(domain, _)| domain.is_empty()).map(|(_, version)| *version)
    }
}

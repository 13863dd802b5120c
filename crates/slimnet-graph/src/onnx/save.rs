//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::error::WriteError;
use super::proto::tensor_proto::DataLocation;
use super::proto::{ModelProto, StringStringEntryProto};
use super::write::{PROTOBUF_LIMIT, WriteOptions, Written, initializers, to_proto};
use crate::graph::Graph;

/// Tensors smaller than this (bytes) stay in the model's own file.
const EXTERNAL_FROM: usize = 1000;
/// Alignment of external tensors in bytes: that of a page, so that runtimes can map each alone.
const EXTERNAL_ALIGNMENT: u64 = 4096;

/// Writes a network to an ONNX file, in the operator set that it was read with, or else the least that can express it. A
/// network that is too large for one protobuf keeps its weights in a second file beside it, `NAME.data`.
///
/// The file is written under another name and then renamed: what was there before stays whole until then.
///
/// # Errors
/// If no operator set can express the network, or the file cannot be written.
pub fn write_file(graph: &Graph, path: &Path) -> Result<Written, WriteError> {
    write_file_with(graph, path, WriteOptions::default())
}

/// As [`write_file`], with a say in how.
///
/// # Errors
/// As [`write_file`].
pub fn write_file_with(graph: &Graph, path: &Path, options: WriteOptions) -> Result<Written, WriteError> {
    let (mut model, mut written) = to_proto(graph)?;
    let failed = |source| WriteError::Io { file: path.to_owned(), source };
    let mut data_file = None;
    if options.external || model.encoded_len() > PROTOBUF_LIMIT {
        let (file, bytes) = write_external(&mut model, path).map_err(failed)?;
        written.external_bytes = bytes;
        data_file = Some(file);
    }
    let bytes = model.encoded_len();
    if bytes > PROTOBUF_LIMIT {
        return Err(WriteError::TooLarge { bytes, limit: PROTOBUF_LIMIT });
    }
    written.bytes = bytes as u64 + written.external_bytes;
    let mut file = Replacement::new(path).map_err(failed)?;
    file.writer.write_all(&model.encode_to_vec()).map_err(failed)?;
    let file = file.finish().map_err(failed)?;
    data_file.map_or(Ok(()), Finished::rename).map_err(failed)?;
    file.rename().map_err(failed)?;
    Ok(written)
}

/// Moves the data of large tensors to the file beside `path`.
fn write_external(model: &mut ModelProto, path: &Path) -> io::Result<(Finished, u64)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".data");
    let no_text = || io::Error::new(io::ErrorKind::InvalidInput, "the name is not Unicode, which external data needs");
    let location = name.to_str().ok_or_else(no_text)?.to_owned();
    let mut file = Replacement::new(&path.with_file_name(&name))?;
    let mut offset = 0u64;
    for tensor in initializers(model) {
        let Some(data) = tensor.raw_data.take_if(|data| data.len() >= EXTERNAL_FROM) else { continue };
        let padding = offset.next_multiple_of(EXTERNAL_ALIGNMENT) - offset;
        file.writer.write_all(&vec![0; padding as usize])?;
        file.writer.write_all(&data)?;
        let start = offset + padding;
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data = vec![
            entry("location", location.clone()),
            entry("offset", start.to_string()),
            entry("length", data.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::External.into());
        offset = start + data.len() as u64;
    }
    Ok((file.finish()?, offset))
}

/// A file under a temporary name in the folder of the one that it will replace; removed if it comes to nothing.
struct Temporary {
    temporary: PathBuf,
    target: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing left under this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

struct Replacement {
    writer: BufWriter<File>,
    names: Temporary,
}

struct Finished(Temporary);

impl Replacement {
    fn new(target: &Path) -> io::Result<Self> {
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "names no file");
        // A link stays a link: what it points to is replaced. A device or pipe would be lost by the rename.
        let target = match target.canonicalize() {
            Ok(existing) => existing,
            Err(_) => target.to_owned(),
        };
        let mode = match fs::metadata(&target) {
            Ok(existing) if !existing.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "is there, and no ordinary file"));
            }
            Ok(existing) => Some(existing.permissions()),
            Err(_) => None,
        };
        let name = target.file_name().ok_or_else(no_name)?;
        for attempt in 0u32.. {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}.{attempt}.tmp", std::process::id()));
            let temporary = target.with_file_name(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    let names = Temporary { temporary, target: target.clone() };
                    if let Some(mode) = mode {
                        file.set_permissions(mode)?;
                    }
                    return Ok(Self { writer: BufWriter::new(file), names });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    fn finish(self) -> io::Result<Finished> {
        let Self { writer, names } = self;
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(Finished(names))
    }
}

impl Finished {
    fn rename(self) -> io::Result<()> {
        fs::rename(&self.0.temporary, &self.0.target)
    }
}

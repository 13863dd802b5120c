//! Regenerates `crates/slimnet-graph/src/onnx/generated/onnx.rs` from `onnx.proto` (ONNX 1.23, Apache-2.0) without
//! `protoc`. Run in this folder: `cargo run`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([here.join("onnx.proto")], [here])?;
    prost_build::Config::new()
        // Weights stay slices of the file (possibly memory-mapped): nothing is copied on reading.
        .bytes([".onnx.TensorProto.raw_data"])
        // Attributes are many and mostly small: a tensor and a graph in each would make them a hundred times larger.
        .boxed(".onnx.AttributeProto.t")
        .boxed(".onnx.AttributeProto.g")
        .boxed(".onnx.AttributeProto.sparse_tensor")
        .boxed(".onnx.AttributeProto.tp")
        .out_dir(here.join("../../crates/slimnet-graph/src/onnx/generated"))
        .compile_fds(descriptors)?;
    Ok(())
}

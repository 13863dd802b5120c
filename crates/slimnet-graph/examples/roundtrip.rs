//! Reads a network and writes it again, unchanged: `roundtrip IN.onnx OUT.onnx [external]`.

use std::path::Path;
use std::process::ExitCode;

use slimnet_graph::onnx::{WriteOptions, read_file, write_file_with};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (input, output, external) = match &arguments[..] {
        [input, output] => (input, output, false),
        [input, output, word] if word == "external" => (input, output, true),
        _ => {
            eprintln!("usage: roundtrip IN.onnx OUT.onnx [external]");
            return ExitCode::from(2);
        }
    };
    match round_trip(Path::new(input), Path::new(output), WriteOptions { external }) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn round_trip(input: &Path, output: &Path, options: WriteOptions) -> Result<String, Box<dyn std::error::Error>> {
    let graph = read_file(input)?;
    let kept: Vec<String> = graph
        .nodes()
        .filter_map(|(id, node)| Some(format!("{}: {}", graph.describe_node(id), node.op.other()?.reason)))
        .collect();
    let written = write_file_with(&graph, output, options)?;
    let mut report = format!("{} nodes, {} kept whole; {written:?}", graph.nodes().count(), kept.len());
    for line in kept {
        report.push_str("\n  ");
        report.push_str(&line);
    }
    Ok(report)
}

//! Writes the training form of a network, in which every weight is taken as sparse: `training_form IN.onnx OUT.onnx`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use slimnet_compress::constraint::{Pattern, record};
use slimnet_compress::weight::weights;
use slimnet_compress::{Constraint, Keep, lift};
use slimnet_graph::onnx::{read_file, write_file};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = &arguments[..] else {
        eprintln!("usage: training_form IN.onnx OUT.onnx");
        return ExitCode::from(2);
    };
    match write_training_form(Path::new(input), Path::new(output)) {
        Ok(masks) => {
            println!("{masks} masks");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_training_form(input: &Path, output: &Path) -> Result<usize, Box<dyn Error>> {
    let mut graph = read_file(input)?;
    for weight in weights(&graph) {
        record(&mut graph, weight.value, Constraint::Sparse(Pattern::Single));
    }
    let lifted = lift(&graph, Keep::Recorded)?;
    write_file(&lifted.graph, output)?;
    Ok(lifted.sparse.len())
}

//! Importance in real networks beside the repository, if they are there.

use std::path::{Path, PathBuf};

use slimnet_compress::importance::{Criterion, ImportanceError, score_groups, score_weights};
use slimnet_compress::weight::weights;
use slimnet_graph::Graph;
use slimnet_graph::axes::{CoupleOptions, couple};
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::read_file;
use slimnet_graph::simplify::{SimplifyOptions, simplify};

fn networks() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: there are no networks in {}", folder.display());
        return Vec::new();
    };
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    found.sort();
    found
}

fn read(path: &Path) -> Graph {
    let mut graph = read_file(path).unwrap();
    let options = SimplifyOptions::default();
    simplify(&mut graph, &options).unwrap();
    infer_graph(&mut graph).unwrap();
    graph
}

#[test]
fn every_network_is_judged_without_data() {
    for path in networks() {
        let graph = read(&path);
        let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
        let weights = weights(&graph);
        let free = coupling.groups().filter(|&group| coupling.frozen(group).is_none()).count();
        println!("{}: {} weights, {free} groups can be removed", path.display(), weights.len());
        for criterion in Criterion::ALL.into_iter().filter(|criterion| !criterion.needs_data()) {
            match score_weights(&graph, &weights, criterion, None, 0) {
                Ok(scores) => assert_eq!(scores.len(), weights.len()),
                Err(error) => assert!(matches!(error, ImportanceError::SingleWeights(_)), "{error}"),
            }
            match score_groups(&graph, &coupling, criterion, None, 0) {
                Ok(scores) => {
                    assert_eq!(scores.len(), coupling.group_count());
                    assert!(scores.iter().all(|score| *score >= 0.0), "{criterion}");
                }
                Err(error) => assert!(matches!(error, ImportanceError::NoBatchNorm), "{criterion}: {error}"),
            }
        }
    }
}

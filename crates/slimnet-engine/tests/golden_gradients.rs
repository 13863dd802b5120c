//! Kernels and their gradients against `PyTorch`, whose values `checks/golden_gradients.py` has written to `golden/`.

mod golden;

use std::collections::BTreeSet;
use std::path::Path;

use golden::cases::FAMILIES;
use golden::training::TRAINING;
use golden::{TOLERANCE, Values, read};
use slimnet_graph::tensor::Tensor;

/// Cases whose gradient has no kernel: family and name, `*` for any ending. Who adds a kernel takes its cases out.
const LATER: &[&str] = &["product/einsum_three"];

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |beginning| name.starts_with(beginning))
}

fn names(values: &Values) -> BTreeSet<&str> {
    values.keys().map(String::as_str).collect()
}

#[test]
fn kernels_agree_with_pytorch() {
    let mut wrong = Vec::new();
    for (family, cases) in FAMILIES {
        let values = read(family);
        let cases = cases();
        assert_eq!(cases.iter().map(|case| case.name).collect::<BTreeSet<_>>(), names(&values), "cases of {family}");
        for case in cases {
            let name = format!("{family}/{}", case.name);
            let found = std::panic::catch_unwind(|| {
                case.check(&values[case.name], LATER.iter().any(|pattern| matches(pattern, &name)))
            });
            let problems = found.unwrap_or_else(|_| vec!["a panic".into()]);
            wrong.extend(problems.into_iter().map(|problem| format!("{name}: {problem}")));
        }
    }
    assert!(wrong.is_empty(), "{} problems:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn training_agrees_with_pytorch() {
    let values = read("training");
    assert_eq!(TRAINING.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), names(&values));
    let mut wrong = Vec::new();
    for (name, check) in TRAINING {
        let differences = check(&values[*name]).into_iter();
        let far = differences.filter(|(_, difference)| *difference > TOLERANCE);
        wrong.extend(far.map(|(what, difference)| format!("{name}: {what} differs by {difference:.3e}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_and_no_exception_is_left_over() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".safetensors").map(str::to_owned)
    });
    let known = FAMILIES.iter().map(|(family, _)| (*family).to_owned()).chain(["training".to_owned()]);
    assert_eq!(files.collect::<BTreeSet<_>>(), known.collect());
    let all: Vec<String> = FAMILIES
        .iter()
        .flat_map(|(family, cases)| cases().into_iter().map(move |case| format!("{family}/{}", case.name)))
        .collect();
    for pattern in LATER {
        assert!(all.iter().any(|name| matches(pattern, name)), "no case is called {pattern}");
    }
}

#[test]
fn a_wrong_value_is_noticed() {
    let (family, cases) = FAMILIES.iter().find(|(family, _)| *family == "product").unwrap();
    let mut values = read(family);
    let case = cases().into_iter().find(|case| case.name == "gemm").unwrap();
    let value = values.get_mut("gemm").unwrap();
    assert_eq!(case.check(value, false), Vec::<String>::new());
    let beside = |tensor: &Tensor| {
        let mut numbers = tensor.to_f64s().unwrap();
        numbers[1] += 1e-4;
        Tensor::from_f64s(tensor.element_type(), tensor.shape().to_vec(), numbers).unwrap()
    };
    let right = value.gradients[2].clone();
    value.gradients[2] = right.as_ref().map(beside);
    assert_eq!(case.check(value, false).len(), 2, "together with others and alone");
    value.gradients[2] = right;
    value.outputs[0] = value.outputs[0].as_ref().map(beside);
    assert_eq!(case.check(value, false).len(), 1);
}

//! The official operator tests of ONNX (Debian package `libonnx-testdata`) in the reference evaluator: read, evaluate,
//! compare; write, read again, evaluate again.
//!
//! The folder of tests is Debian's, or `SLIMNET_ONNX_TESTDATA`. Two committed lists stay true because the test compares
//! them with what happens: tests that fail, each with its reason, and tests of operators outside the claim.
//! `UPDATE=1` rewrites the second one.

#[path = "onnx_testdata/run.rs"]
mod run;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use run::Outcome;

const DEBIAN: &str = "/usr/include/onnx/backend/test/data/node";
const LISTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx_testdata");

/// The folder of tests, and whether it is the one that the committed lists speak of.
fn folder() -> Option<(PathBuf, bool)> {
    match std::env::var_os("SLIMNET_ONNX_TESTDATA") {
        Some(folder) => Some((folder.into(), false)),
        None if Path::new(DEBIAN).is_dir() => Some((DEBIAN.into(), true)),
        None => None,
    }
}

/// Lines `name: text` of a committed list; those that start with `#` are comments.
fn list(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(Path::new(LISTS).join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (name, text) = line.split_once(": ").unwrap_or_else(|| panic!("{file}: no reason in {line:?}"));
        (name.to_owned(), text.to_owned())
    };
    lines.map(entry).collect()
}

#[test]
fn official_operator_tests() {
    let Some((folder, is_debian)) = folder() else {
        let help = "install the Debian package libonnx-testdata, or set SLIMNET_ONNX_TESTDATA to a folder of tests";
        assert!(std::env::var("CI").is_err(), "no official operator tests: {help}");
        // Not by a macro, whose output the test runner keeps back.
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: no official operator tests: {help} ***\n");
        return;
    };
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut tests: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    tests.retain(|test| test.join("model.onnx").is_file());
    tests.sort();
    assert!(!tests.is_empty(), "no tests in {}", folder.display());

    let (mut passed, mut failed, mut outside) = (0, BTreeMap::new(), BTreeMap::new());
    for test in &tests {
        let name = test.file_name().unwrap().to_string_lossy().into_owned();
        match run::run(test) {
            Outcome::Passed => passed += 1,
            Outcome::Failed(reason) => drop(failed.insert(name, reason)),
            Outcome::OutsideTheClaim(reason) => drop(outside.insert(name, reason)),
        }
    }
    let claimed = passed + failed.len();
    println!("{} tests: {claimed} claimed, {passed} passed, {} outside the claim", tests.len(), outside.len());

    let expected = list("expected_failures.txt");
    let mut wrong = Vec::new();
    for (name, reason) in &failed {
        println!("failed: {name}: {reason}");
        if !expected.contains_key(name) {
            wrong.push(format!("{name} fails: {reason}"));
        }
    }
    if is_debian {
        let not_failing = expected.keys().filter(|name| !failed.contains_key(*name));
        wrong.extend(not_failing.map(|name| format!("{name} is listed as failing and does not fail")));
        check_outside(&outside, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} surprises:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed * 10 >= claimed * 9, "{passed} of {claimed} claimed tests pass: less than 90 %");
}

fn check_outside(outside: &BTreeMap<String, String>, wrong: &mut Vec<String>) {
    let file = "outside_the_claim.txt";
    if std::env::var("UPDATE").is_ok() {
        let lines = outside.iter().map(|(name, reason)| format!("{name}: {reason}\n"));
        let head = "# Official tests outside of what slimnet claims to evaluate, each with the operator or operator set that is. Written by\n# UPDATE=1.\n";
        std::fs::write(Path::new(LISTS).join(file), head.to_owned() + &lines.collect::<String>()).unwrap();
    }
    let expected = list(file);
    for name in expected.keys().chain(outside.keys()) {
        if expected.get(name) != outside.get(name) {
            let (expected, found) = (expected.get(name), outside.get(name));
            wrong.push(format!("{name}: {file} says {expected:?}, found {found:?} (UPDATE=1 rewrites the list)"));
        }
    }
    wrong.dedup();
}

//! Runs the program in a folder of its own and compares what it says with committed files.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder in which commands run.
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// One that holds the network that ships with slimnet.
    #[allow(dead_code)] // not every test looks at it
    pub fn with_person_detector() -> Self {
        let folder = Self::new();
        let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/person-detector.onnx");
        fs::copy(network, folder.path("person-detector.onnx")).unwrap();
        folder
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these arguments, split at spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimnet"));
        command.args(arguments.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("COLUMNS");
        command
    }

    /// Runs the program.
    pub fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program, which must end well, and returns what it says.
    pub fn succeed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program and compares stdout, stderr and exit code with `tests/snapshots/NAME.txt`. `UPDATE=1` writes the
    /// file instead.
    pub fn snapshot(&self, name: &str, arguments: &str) {
        self.snapshot_masked(name, arguments, &round_differences);
    }

    /// As [`Self::snapshot`], with what is said changed by `mask`.
    pub fn snapshot_masked(&self, name: &str, arguments: &str, mask: &dyn Fn(&str) -> String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| mask(std::str::from_utf8(bytes).unwrap());
        let mut found = format!("$ slimnet {arguments}\n{}", text(&output.stdout));
        let stderr = text(&output.stderr);
        if !stderr.is_empty() {
            found += "--- stderr\n";
            found += &stderr;
        }
        writeln!(found, "--- exit code {}", output.status.code().unwrap()).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name).with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, found).unwrap();
            return;
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if let Some((place, (expected, found))) =
            expected.lines().zip(found.lines()).enumerate().find(|(_, (expected, found))| expected != found)
        {
            panic!("{name}, line {}:\n expected {expected}\n found    {found}\n(UPDATE=1 takes it over)", place + 1);
        }
        assert_eq!(expected, found, "{name} (UPDATE=1 takes it over)");
    }
}

/// Rounding errors depend on the mathematical library of the machine: numbers in scientific notation lose their digits.
pub fn round_differences(text: &str) -> String {
    let mut rounded = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '\n', ',']) {
        let number = word.trim_end_matches([' ', '\n', ',']);
        let mantissa_and_exponent = number.split_once("e-");
        let is_number = mantissa_and_exponent.is_some_and(|(mantissa, exponent)| {
            let digits =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            digits(mantissa) && digits(exponent)
        });
        if is_number {
            rounded += "tiny";
            rounded += &word[number.len()..];
        } else {
            rounded += word;
        }
    }
    rounded
}

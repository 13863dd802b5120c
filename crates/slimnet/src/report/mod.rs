//! What commands report: one data structure each, from which both the text and the JSON are made.

pub mod bench;
pub mod compress;
pub mod data;
pub mod diff;
pub mod eval;
pub mod inspect;
pub mod json;
pub mod layer;
pub mod new;
pub mod number;
pub mod proof;
pub mod prune;
pub mod simplify;
pub mod summary;
pub mod table;
pub mod train;

/// A command's result as text; its `Serialize` is the JSON.
pub trait Report {
    /// The text, with tables no wider than `width` where that is given.
    fn text(&self, width: Option<usize>) -> String;

    /// The result in a few words, for a row of another command's table; empty where they would say nothing.
    fn headline(&self) -> String {
        String::new()
    }
}

/// The text with every control character but the line feed made visible: names come from files that may be hostile to
/// terminals.
pub fn plain_lines(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter }).collect()
}

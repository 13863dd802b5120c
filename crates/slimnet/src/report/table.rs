//! Tables of aligned columns.

use std::fmt::Write;

/// Which way the cells of a column lean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words; too long ones lose their middle where a table must fit a screen.
    Left,
    /// Numbers, never shortened.
    Right,
}

/// Between two columns.
const GAP: &str = "  ";
/// Words are not shortened below this.
const SHORTEST: usize = 12;

/// A table with a line of headings.
#[derive(Debug, Clone)]
pub struct Table {
    headings: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// A line break in a name would break the table.
fn on_one_line(cell: &str) -> String {
    cell.replace(['\n', '\t'], "\u{fffd}")
}

impl Table {
    /// A table without rows.
    pub fn new<H: AsRef<str>>(headings: impl IntoIterator<Item = (H, Align)>) -> Self {
        let headings = headings.into_iter().map(|(heading, align)| (on_one_line(heading.as_ref()), align));
        Self { headings: headings.collect(), rows: Vec::new() }
    }

    /// Adds a row, whose cells are as many as there are headings; missing ones are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<_> = cells.into_iter().map(|cell| on_one_line(&cell)).collect();
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, indented by two, no wider than `width` where that is given and possible. Columns without any content
    /// are left out.
    pub fn lines(&self, width: Option<usize>) -> String {
        let shown = |column: usize| self.rows.iter().any(|row| !row[column].is_empty());
        let columns: Vec<usize> = (0..self.headings.len()).filter(|&column| shown(column)).collect();
        let longest = |&column: &usize| {
            let cells = self.rows.iter().map(|row| length(&row[column]));
            cells.max().unwrap_or(0).max(length(&self.headings[column].0))
        };
        let mut widths: Vec<usize> = columns.iter().map(longest).collect();
        if let Some(limit) = width {
            self.shrink(&columns, &mut widths, limit);
        }
        let mut text = String::new();
        let headings: Vec<_> = self.headings.iter().map(|(heading, _)| heading.clone()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for (&column, &width) in columns.iter().zip(&widths) {
                line += GAP;
                let cell = shorten(&row[column], width);
                let _ = match self.headings[column].1 {
                    Align::Left => write!(line, "{cell:<width$}"),
                    Align::Right => write!(line, "{cell:>width$}"),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// Narrows the widest column of words until the whole fits or nothing can be narrowed.
    fn shrink(&self, columns: &[usize], widths: &mut [usize], limit: usize) {
        let total = |widths: &[usize]| widths.iter().map(|width| width + GAP.len()).sum::<usize>();
        while total(widths) > limit {
            let words = |place: &usize| self.headings[columns[*place]].1 == Align::Left;
            let widest = (0..widths.len()).filter(words).max_by_key(|&place| widths[place]);
            let Some(widest) = widest.filter(|&place| widths[place] > SHORTEST) else { return };
            widths[widest] -= 1;
        }
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text without its middle, if it is longer than `width`: names tell most at their end.
pub fn shorten(text: &str, width: usize) -> String {
    let letters = length(text);
    if letters <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept / 4, kept - kept / 4);
    let mut short: String = text.chars().take(head).collect();
    short.push('…');
    short.extend(text.chars().skip(letters - tail));
    short
}

/// `items` joined by commas, with line breaks before `width`, each line indented by `indent`.
pub fn wrap(items: &[String], indent: usize, width: usize) -> String {
    let last = items.len().saturating_sub(1);
    let items = items.iter().enumerate();
    wrap_words(items.map(|(place, item)| if place < last { format!("{item},") } else { item.clone() }), indent, width)
}

/// `words` joined by spaces, with line breaks before `width`, each line indented by `indent`.
pub fn wrap_words(words: impl Iterator<Item = String>, indent: usize, width: usize) -> String {
    let mut text = String::new();
    let mut line = " ".repeat(indent);
    for word in words {
        if length(&line) > indent && length(&line) + 1 + length(&word) > width {
            text += &line;
            text.push('\n');
            line = " ".repeat(indent);
        }
        if length(&line) > indent {
            line.push(' ');
        }
        line += &word;
    }
    text + &line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new([("layer", Align::Left), ("none", Align::Left), ("MACs", Align::Right)]);
        table.row(["a".into(), String::new(), "1,000".into()]);
        table.row(["conv1".into(), String::new(), "7".into()]);
        assert_eq!(table.lines(None), "  layer   MACs\n  a      1,000\n  conv1      7\n");
    }

    #[test]
    fn long_names_lose_their_middle_only_where_they_must() {
        let mut table = Table::new([("layer", Align::Left), ("MACs", Align::Right)]);
        table.row(["/model/stage1/block2/conv/Conv".into(), "1".into()]);
        assert!(table.lines(None).contains("/model/stage1/block2/conv/Conv"));
        let narrow = table.lines(Some(30));
        assert!(narrow.lines().all(|line| length(line) <= 30), "{narrow}");
        assert!(narrow.contains("…"), "{narrow}");
        assert_eq!(shorten("abcdefgh", 5), "a…fgh");
    }

    #[test]
    fn lists_break_between_items() {
        let items: Vec<String> = ["aa", "bb", "cc"].iter().map(ToString::to_string).collect();
        assert_eq!(wrap(&items, 2, 9), "  aa, bb,\n  cc");
    }
}

//! Numbers for people.

/// A count with thousands separators: `208,112`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in units of 1000 with three digits: `851 kB`, `1.27 MB`.
pub fn bytes(number: u64) -> String {
    scaled(number, "B", &["kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A large count with three digits: `7.49 M`.
pub fn short(number: u64) -> String {
    scaled(number, "", &["k", "M", "G", "T", "P", "E"]).trim_end().to_owned()
}

fn scaled(number: u64, plain: &str, units: &[&str]) -> String {
    if number < 1000 {
        return format!("{number} {plain}");
    }
    let mut value = number as f64 / 1000.0;
    let mut place = 0;
    // 999.5 would be written as "1000".
    while value >= 999.5 && place + 1 < units.len() {
        value /= 1000.0;
        place += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", units[place])
}

/// A share of a whole: `82.3 %`.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

/// How a count changed: `−84.6 %`, or `=` where it did not.
pub fn change(before: u64, after: u64) -> String {
    if before == after {
        return "=".to_owned();
    }
    if before == 0 {
        return "new".to_owned();
    }
    change_to(after as f64 / before as f64)
}

/// How a number changed that is this part of what it was: `−32.5 %`, or `=` where it did not.
pub fn change_to(part: f64) -> String {
    let percent = 100.0 * (part - 1.0);
    if percent == 0.0 { "=".to_owned() } else { format!("{}{:.1} %", sign(percent), percent.abs()) }
}

/// A difference of percentages in percentage points: `−0.11 pp`.
pub fn points(difference: f64) -> String {
    format!("{}{:.2} pp", sign(difference), difference.abs())
}

fn sign(number: f64) -> char {
    if number < 0.0 { '−' } else { '+' }
}

/// A difference of values with two or three digits: `2.4e-7`, `0.302`, `12.5`, or `0`.
pub fn difference(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e4).contains(&size) => format!("{value:.1e}"),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// A time with three digits or more: `0.0412 ms`, `12.51 ms`.
pub fn milliseconds(time: f64) -> String {
    let decimals = match time {
        ..0.1 => 4,
        ..10.0 => 3,
        ..100.0 => 2,
        _ => 1,
    };
    format!("{time:.decimals$} ms")
}

/// `1 node`, `2 nodes`.
pub fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_208_112), "1,208,112");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(851_471), "851 kB");
        assert_eq!(bytes(1_270_727), "1.27 MB");
        assert_eq!(bytes(94_369), "94.4 kB");
        assert_eq!(bytes(999_900), "1.00 MB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(short(12), "12");
        assert_eq!(short(7_489_664), "7.49 M");
        assert_eq!(change(851, 131), "−84.6 %");
        assert_eq!(change(1, 1), "=");
        assert_eq!(change(0, 3), "new");
        assert_eq!(percent(0, 0), "–");
        assert_eq!([0.675, 1.0, 1.25].map(change_to), ["−32.5 %", "=", "+25.0 %"]);
        assert_eq!([-0.112, 0.0].map(points), ["−0.11 pp", "+0.00 pp"]);
        assert_eq!(
            [0.041_23, 1.5, 12.512, 1234.56].map(milliseconds),
            ["0.0412 ms", "1.500 ms", "12.51 ms", "1234.6 ms"]
        );
        assert_eq!([0.0, 2.44e-7, 0.3021, 12.512, 1e5].map(difference), ["0", "2.4e-7", "0.302", "12.51", "1.0e5"]);
    }
}

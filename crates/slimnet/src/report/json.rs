//! JSON that people can read too: objects and lists of objects indented, lists of numbers and names on one line.

use std::fmt::Write;

use serde_json::Value;

/// The value as indented text.
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, 0, &mut text);
    text
}

fn write_value(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Array(items) if items.iter().any(is_nested) => {
            let items = items.iter().map(|item| (None, item));
            write_lines(('[', ']'), items, depth, text);
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(Value::to_string).collect();
            let _ = write!(text, "[{}]", items.join(", "));
        }
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|(key, value)| (Some(key.as_str()), value));
            write_lines(('{', '}'), fields, depth, text);
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

fn write_lines<'a>(
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    depth: usize,
    text: &mut String,
) {
    let indent = "  ".repeat(depth + 1);
    text.push(open);
    for (place, (key, value)) in items.enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\n{indent}");
        if let Some(key) = key {
            let _ = write!(text, "{}: ", Value::from(key));
        }
        write_value(value, depth + 1, text);
    }
    let _ = write!(text, "\n{}{close}", "  ".repeat(depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_lists_stay_on_their_line() {
        let value = json!({"shape": ["N", 3], "none": [], "empty": {}, "layers": [{"name": "a\"b"}, {"macs": 1.5}]});
        let text = pretty(&value);
        let expected = r#"{
  "shape": ["N", 3],
  "none": [],
  "empty": {},
  "layers": [
    {
      "name": "a\"b"
    },
    {
      "macs": 1.5
    }
  ]
}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}

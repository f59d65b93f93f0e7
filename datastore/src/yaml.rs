//! YAML and JSON text to JSON values, plain scalars read as calicoctl reads them.
//!
//! calicoctl and kubectl read YAML 1.1 (`yes` is a boolean, `010` is eight), which no Rust library offers whole, so
//! the values are built here from a parser's events. **Invariant:** no text makes this panic, recurse without bound
//! or grow by more than a million values, however its aliases multiply.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

/// Deepest nesting read; Calico's deepest resource has 8.
const MAX_DEPTH: usize = 64;

/// Most values that the aliases of one text may stand for together; what is written out is bounded by its length.
const MAX_ALIASED: usize = 1_000_000;

/// One document of a text.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// Counts from 1; empty documents count as well.
    pub number: usize,
    /// Its content.
    pub value: Value,
}

/// The text is not YAML or JSON.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct SyntaxError {
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1.
    pub column: usize,
    /// What is wrong there, never the value itself.
    pub problem: String,
}

/// Reads all documents of a text.
///
/// Integers become numbers, `true`, `yes`, `on` and their opposites booleans. A number with a fraction stays the
/// text it was written as: no resource has a fractional field, and `asNumber: 1.10` is AS 65546, not 1.1.
///
/// # Errors
///
/// The first place that is not YAML, or a mapping that has a key twice; nothing of the text counts then.
pub fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    // Large dumps are JSON, and serde_json is several times faster than the YAML parser.
    if text.trim_start().starts_with(['{', '['])
        && let Ok(values) = serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect::<Result<Vec<_>, _>>()
    {
        let numbered = |(index, value)| Document {
            number: index + 1,
            value,
        };
        return Ok(values.into_iter().enumerate().map(numbered).collect());
    }
    Builder::new(text).documents()
}

/// Builds values from the parser's events.
struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// What each anchor of the current document stands for, and how many values that is.
    anchors: HashMap<usize, (Value, usize)>,
    /// Values built so far.
    nodes: usize,
    /// Those of them that aliases stand for.
    aliased: usize,
    line: usize,
    column: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Builder {
            parser: Parser::new_from_str(text),
            anchors: HashMap::new(),
            nodes: 0,
            aliased: 0,
            line: 1,
            column: 1,
        }
    }

    fn documents(mut self) -> Result<Vec<Document>, SyntaxError> {
        let mut documents = Vec::new();
        loop {
            match self.event()? {
                Some(Event::DocumentStart(..)) => {
                    self.anchors.clear();
                    let first = self.need_event()?;
                    let value = self.value(first, 0)?;
                    documents.push(Document {
                        number: documents.len() + 1,
                        value,
                    });
                }
                Some(Event::StreamEnd) | None => return Ok(documents),
                Some(_) => {}
            }
        }
    }

    /// The next event that carries content.
    fn event(&mut self) -> Result<Option<Event<'t>>, SyntaxError> {
        for next in self.parser.by_ref() {
            let (event, span) = next.map_err(|error| scan_error(&error))?;
            if matches!(event, Event::Comment(..)) {
                continue;
            }
            self.line = span.start.line();
            self.column = span.start.col() + 1;
            return Ok(Some(event));
        }
        Ok(None)
    }

    fn need_event(&mut self) -> Result<Event<'t>, SyntaxError> {
        match self.event()? {
            Some(event) => Ok(event),
            None => Err(self.error("the text ends too early")),
        }
    }

    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Value, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let before = self.nodes;
        self.nodes += 1;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(text, style, tag.as_deref()), anchor),
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(id) => return self.alias(id),
            Event::DocumentEnd => (Value::Null, 0),
            _ => return Err(self.error("a value was expected")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), self.nodes - before));
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            match self.need_event()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let event = self.need_event()?;
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text.as_ref() == "<<");
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.value(event, depth + 1)?;
            let Some(key) = scalar_text(&key).map(Cow::into_owned) else {
                return Err(self.error("a mapping's key must be a scalar"));
            };
            let event = self.need_event()?;
            let value = self.value(event, depth + 1)?;
            if is_merge {
                merged.push(value);
            } else if map.insert(key, value).is_some() {
                return Err(self.error("the mapping has this key twice"));
            }
        }
        merged
            .into_iter()
            .for_each(|source| merge_missing(&mut map, source));
        Ok(Value::Object(map))
    }

    fn alias(&mut self, id: usize) -> Result<Value, SyntaxError> {
        let Some((value, nodes)) = self.anchors.get(&id) else {
            return Err(self.error("an alias inside what it stands for"));
        };
        let (value, nodes) = (value.clone(), *nodes);
        self.nodes += nodes;
        self.aliased += nodes;
        if self.aliased > MAX_ALIASED {
            return Err(self.error("aliases stand for too many values"));
        }
        Ok(value)
    }

    fn error(&self, problem: &str) -> SyntaxError {
        SyntaxError {
            line: self.line,
            column: self.column,
            problem: problem.to_owned(),
        }
    }
}

/// YAML 1.1 `<<`: keys that the mapping does not have itself.
fn merge_missing(map: &mut Map<String, Value>, source: Value) {
    match source {
        Value::Object(other) => other.into_iter().for_each(|(key, value)| {
            map.entry(key).or_insert(value);
        }),
        Value::Array(sources) => sources.into_iter().for_each(|source| merge_missing(map, source)),
        _ => {}
    }
}

fn scan_error(error: &ScanError) -> SyntaxError {
    SyntaxError {
        line: error.marker().line(),
        column: error.marker().col() + 1,
        problem: error.info().to_string(),
    }
}

/// Text of a scalar where text is wanted: a boolean is `true` or `false`, a number its digits.
///
/// `None` for null, lists and mappings.
pub fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    if style != ScalarStyle::Plain || is_text {
        return Value::String(text.into_owned());
    }
    plain(&text).unwrap_or_else(|| Value::String(text.into_owned()))
}

/// What a plain scalar means besides text (YAML 1.1 as calicoctl's library reads it).
fn plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(Value::Bool(false)),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) => integer(text),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.as_bytes() {
        [b'-', ..] => (true, &digits[1..]),
        [b'+', ..] => (false, &digits[1..]),
        _ => (false, digits.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    let number = match negative {
        false => Number::from(magnitude),
        true => Number::from(0i64.checked_sub_unsigned(magnitude)?),
    };
    Some(Value::Number(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        let mut documents = documents(text).unwrap();
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).value
    }

    #[test]
    fn plain_scalars_are_read_as_calicoctl_reads_them() {
        let text =
            "{a: yes, b: 'yes', c: off, d: 5663:12, e: 0x10, f: 010, g: 1_000, h: 1.10, i: ~, j: -5, k: 089}";
        assert_eq!(
            one(text),
            json!({"a": true, "b": "yes", "c": false, "d": "5663:12", "e": 16, "f": 8, "g": 1000, "h": "1.10",
                   "i": null, "j": -5, "k": "089"})
        );
    }

    #[test]
    fn documents_keep_their_numbers() {
        let read = documents("---\n# nothing\n---\na: 1\n---\nb: 2\n").unwrap();
        let numbers: Vec<_> = read.iter().map(|d| (d.number, d.value.clone())).collect();
        assert_eq!(
            numbers,
            [(1, Value::Null), (2, json!({"a": 1})), (3, json!({"b": 2}))]
        );
    }

    #[test]
    fn aliases_and_merges_are_filled_in() {
        assert_eq!(
            one("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nagain: *b"),
            json!({"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "again": {"x": 1, "y": 2}})
        );
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(","));
        }
        assert_eq!(
            documents(&text).unwrap_err().problem,
            "aliases stand for too many values"
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("x: {}", "- ".repeat(MAX_DEPTH + 10));
        assert!(documents(&text).is_err());
        let text = format!("x: {}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert_eq!(documents(&text).unwrap_err().problem, "nested too deeply");
    }

    #[test]
    fn errors_have_a_position() {
        let error = documents("a: 1\na: 2\n").unwrap_err();
        assert_eq!(
            (error.line, error.problem.as_str()),
            (2, "the mapping has this key twice")
        );
        assert_eq!(documents("kind: {broken").unwrap_err().line, 1);
    }

    #[test]
    fn a_stream_of_json_values_is_read() {
        let read = documents("{\"a\": 1}\n[true]\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].value, json!([true]));
    }
}

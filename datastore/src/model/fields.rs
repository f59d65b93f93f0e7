//! Reading an object's fields by name, and noting those that cannot be read.

use serde_json::{Map, Value};

use super::scalar::{Read, ScalarError, show};

/// A field that cannot be honoured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldProblem {
    /// Path in the object, indexes from 0: `spec.importV4[2].cidr`.
    pub field: String,
    /// What is wrong, and what pipit does about it.
    pub message: String,
}

/// What reading an object gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Parsed<T> {
    /// The object; `None` when it has to count as absent.
    pub object: Option<T>,
    /// Fields that cannot be honoured.
    pub problems: Vec<FieldProblem>,
}

impl<T> Parsed<T> {
    /// An object without a problem.
    pub(crate) fn clean(object: T) -> Self {
        Parsed {
            object: Some(object),
            problems: Vec::new(),
        }
    }
}

/// Collects problems; the consequence is the same for a stretch of fields.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<FieldProblem>);

impl Problems {
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldProblem {
            field: field.into(),
            message: message.into(),
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One JSON object and where it stands. A missing one has no fields.
#[derive(Clone)]
pub(crate) struct Fields<'v> {
    map: Option<&'v Map<String, Value>>,
    path: String,
    /// What an unreadable field costs, for messages.
    consequence: &'static str,
}

impl<'v> Fields<'v> {
    /// The whole resource. What is not an object has no fields.
    pub(crate) fn root(value: &'v Value, consequence: &'static str) -> Self {
        Fields {
            map: value.as_object(),
            path: String::new(),
            consequence,
        }
    }

    /// An item of a list.
    pub(crate) fn item(&self, path: String, value: &'v Value, problems: &mut Problems) -> Fields<'v> {
        let map = match value {
            Value::Object(map) => Some(map),
            Value::Null => None,
            other => {
                self.report(&path, &ScalarError::NotAnObject { found: show(other) }, problems);
                None
            }
        };
        Fields { map, path, ..*self }
    }

    /// The same object, with another consequence of unreadable fields.
    pub(crate) fn with_consequence(&self, consequence: &'static str) -> Fields<'v> {
        Fields {
            consequence,
            ..self.clone()
        }
    }

    /// The path of a field of this object.
    pub(crate) fn path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// Where this object stands.
    pub(crate) fn own_path(&self) -> &str {
        &self.path
    }

    /// Whether the object is there and has a field.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_none_or(Map::is_empty)
    }

    /// A field, `None` when it is missing, `null` or the empty text.
    pub(crate) fn value(&self, name: &str) -> Option<&'v Value> {
        self.map?
            .get(name)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// A field that is an object; without fields when it is missing.
    pub(crate) fn object(&self, name: &str, problems: &mut Problems) -> Fields<'v> {
        self.item(
            self.path(name),
            self.value(name).unwrap_or(&Value::Null),
            problems,
        )
    }

    /// A scalar; `None` when it is missing, or unreadable and reported.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        problems: &mut Problems,
        read: impl FnOnce(&Value) -> Read<T>,
    ) -> Option<T> {
        match read(self.value(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(&self.path(name), &error, problems);
                None
            }
        }
    }

    /// The items of a list with their paths; none when it is missing, or not a list and reported.
    pub(crate) fn list(&self, name: &str, problems: &mut Problems) -> Vec<(String, &'v Value)> {
        let path = self.path(name);
        match self.value(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (format!("{path}[{index}]"), item))
                .collect(),
            Some(other) => {
                self.report(&path, &ScalarError::NotAList { found: show(other) }, problems);
                Vec::new()
            }
        }
    }

    /// A list of scalars; unreadable items are reported and left out.
    pub(crate) fn scalars<T>(
        &self,
        name: &str,
        problems: &mut Problems,
        read: impl Fn(&Value) -> Read<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (path, item) in self.list(name, problems) {
            match read(item) {
                Ok(value) => values.push(value),
                Err(error) => self.report(&path, &error, problems),
            }
        }
        values
    }

    /// All fields, in the order of their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
        self.map.into_iter().flatten()
    }

    pub(crate) fn report(&self, path: &str, error: &ScalarError, problems: &mut Problems) {
        problems.add(path, format!("{error}; {}", self.consequence));
    }
}

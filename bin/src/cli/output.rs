//! The formats in which lists are printed, all of them while the items arrive.

use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::GlobalArgs;
use crate::cli::exit::CliError;
use crate::cli::table::TableWriter;
use crate::control::protocol::API_VERSION;

/// How a list is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// Columns
    #[value(alias = "text")]
    Table,
    /// More columns
    Wide,
    /// One document, {"apiVersion":"pipit/v1","kind":"…List","items":[…]}
    Json,
    /// One JSON object a line
    Jsonl,
    /// Names only, to be used as arguments
    Name,
}

/// One column of a list of `T`.
pub struct Column<T> {
    /// The header.
    pub title: &'static str,
    /// Only in [`Format::Wide`].
    pub is_wide: bool,
    /// The text of an item's cell; empty when it has none. The time is now.
    pub cell: fn(&T, Timestamp) -> String,
}

impl<T> Column<T> {
    /// A column that tables always have.
    pub const fn new(title: &'static str, cell: fn(&T, Timestamp) -> String) -> Self {
        Column {
            title,
            is_wide: false,
            cell,
        }
    }

    /// A column for who asks for more.
    pub const fn wide(title: &'static str, cell: fn(&T, Timestamp) -> String) -> Self {
        Column {
            title,
            is_wide: true,
            cell,
        }
    }
}

/// What is listed.
pub trait Item: Serialize + DeserializeOwned + 'static {
    /// The `kind` of the document.
    const KIND: &'static str;
    /// The columns, in their order.
    const COLUMNS: &'static [Column<Self>];
    /// What names the item on a command line.
    fn name(&self) -> String;
}

/// Prints the items of one list in one format.
pub struct ListWriter<'w, T: Item> {
    sink: Sink<'w, T>,
    now: Timestamp,
    count: usize,
}

enum Sink<'w, T: Item> {
    Table {
        table: TableWriter<'w>,
        columns: Vec<&'static Column<T>>,
    },
    Json(&'w mut dyn Write),
    Jsonl(&'w mut dyn Write),
    Name(&'w mut dyn Write),
}

impl<'w, T: Item> ListWriter<'w, T> {
    /// Starts a list.
    pub fn new(out: &'w mut dyn Write, global: &GlobalArgs) -> Result<Self, CliError> {
        let format = global.format();
        let sink = match format {
            Format::Table | Format::Wide => {
                let is_wanted = |column: &&Column<T>| format == Format::Wide || !column.is_wide;
                let columns: Vec<_> = T::COLUMNS.iter().filter(is_wanted).collect();
                let mut table = TableWriter::new(out, columns.len());
                if !global.no_headers {
                    table
                        .push(columns.iter().map(|column| column.title.to_owned()))
                        .map_err(CliError::Output)?;
                }
                Sink::Table { table, columns }
            }
            Format::Json => {
                write!(
                    out,
                    r#"{{"apiVersion":"{API_VERSION}","kind":"{}","items":["#,
                    T::KIND
                )
                .map_err(CliError::Output)?;
                Sink::Json(out)
            }
            Format::Jsonl => Sink::Jsonl(out),
            Format::Name => Sink::Name(out),
        };
        Ok(ListWriter {
            sink,
            now: Timestamp::now(),
            count: 0,
        })
    }

    /// Prints an item.
    pub fn push(&mut self, item: &T) -> Result<(), CliError> {
        match &self.sink {
            Sink::Json(_) | Sink::Jsonl(_) => {
                let line = serde_json::to_vec(item).map_err(CliError::Item)?;
                self.push_json(&line)
            }
            Sink::Table { .. } | Sink::Name(_) => self.push_text(item),
        }
    }

    /// Prints an item that arrived as JSON. JSON formats pass it on unread, with every field that it has.
    pub fn push_line(&mut self, line: &[u8]) -> Result<(), CliError> {
        match &self.sink {
            Sink::Json(_) | Sink::Jsonl(_) => self.push_json(line),
            Sink::Table { .. } | Sink::Name(_) => {
                self.push_text(&serde_json::from_slice(line).map_err(CliError::Item)?)
            }
        }
    }

    /// How many items were printed.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Ends the list. `more` are the members of the JSON document beside its items.
    pub fn finish(self, more: &[(&str, serde_json::Value)]) -> Result<(), CliError> {
        match self.sink {
            Sink::Table { table, .. } => table.finish().map(drop).map_err(CliError::Output),
            Sink::Json(out) => {
                out.write_all(b"\n]").map_err(CliError::Output)?;
                for (name, value) in more {
                    write!(out, ",\n\"{name}\":{value}").map_err(CliError::Output)?;
                }
                out.write_all(b"}\n").map_err(CliError::Output)
            }
            Sink::Jsonl(_) | Sink::Name(_) => Ok(()),
        }
    }

    /// Prints what is held back although the list is not complete.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Table { table, .. } => table.flush(),
            Sink::Json(_) | Sink::Jsonl(_) | Sink::Name(_) => Ok(()),
        }
    }

    fn push_text(&mut self, item: &T) -> Result<(), CliError> {
        self.count += 1;
        match &mut self.sink {
            Sink::Table { table, columns } => {
                table.push(columns.iter().map(|column| (column.cell)(item, self.now)))
            }
            Sink::Name(out) => writeln!(out, "{}", item.name()),
            Sink::Json(_) | Sink::Jsonl(_) => Ok(()),
        }
        .map_err(CliError::Output)
    }

    fn push_json(&mut self, line: &[u8]) -> Result<(), CliError> {
        let separator: &[u8] = if self.count == 0 { b"\n" } else { b",\n" };
        self.count += 1;
        match &mut self.sink {
            Sink::Json(out) => out.write_all(separator).and_then(|()| out.write_all(line)),
            Sink::Jsonl(out) => out.write_all(line).and_then(|()| out.write_all(b"\n")),
            Sink::Table { .. } | Sink::Name(_) => Ok(()),
        }
        .map_err(CliError::Output)
    }
}

/// Writes one answer that is no list: as JSON where that is asked for, otherwise in `words`.
pub fn print_document<T: Serialize>(
    document: &T,
    format: Format,
    out: &mut dyn Write,
    words: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CliError> {
    match format {
        Format::Json | Format::Jsonl => {
            let text = serde_json::to_string(document).map_err(CliError::Item)?;
            writeln!(out, "{text}")
        }
        Format::Table | Format::Wide | Format::Name => words(out),
    }
    .map_err(CliError::Output)
}

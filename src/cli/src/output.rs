//! The two ways out of the program: the answer on standard output, everything else on standard error.

use std::io::Write;

use serde::Serialize;

use crate::failure::Failure;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// The objects, as JSON.
    Json,
    /// The objects, as YAML.
    Yaml,
}

/// Writes a text of the answer. That nobody reads any more (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    });
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|source| Failure::Io {
            what: "write the answer",
            source,
        }),
    }
}

/// Says something on the way. If even that cannot be written nobody is left to tell.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// The answer in words, or, in a format for machines, as the object that it is about. The words are then said on the way.
pub(crate) fn answer(format: Format, object: &impl Serialize, words: &str) -> Result<(), Failure> {
    match document(format, object)? {
        Some(document) => {
            say(words.trim_end());
            print(&document)
        }
        None => print(words),
    }
}

/// A value in one of the formats for machines; nothing for tables.
pub(crate) fn document(format: Format, value: &impl Serialize) -> Result<Option<String>, Failure> {
    let bad = |error: String| Failure::Refused(format!("could not write the objects: {error}"));
    match format {
        Format::Table => Ok(None),
        Format::Json => serde_json::to_string_pretty(value)
            .map(Some)
            .map_err(|e| bad(e.to_string())),
        // By way of JSON, so that keys come in one order.
        Format::Yaml => serde_json::to_value(value)
            .map_err(|e| e.to_string())
            .and_then(|v| serde_saphyr::to_string(&v).map_err(|e| e.to_string()))
            .map(Some)
            .map_err(bad),
    }
}

/// Objects as the list that kubectl would print.
pub(crate) fn list(items: &[impl Serialize]) -> serde_json::Value {
    serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

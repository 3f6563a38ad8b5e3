//! `gateway certs client --from FILE`: a table of clients.

use std::collections::HashMap;
use std::path::Path;

use clap::ValueEnum as _;
use serde_json::json;

use super::csv::{Line, lines};
use super::show::read;
use super::{DAYS, Exit, Failure, Format};
use crate::cli::output;
use crate::pki::{ClientRequest, EntryName, KeyType, Store, Validity, Warning, parse_alternative_name};

/// A table with more lines is taken in parts.
const MOST: usize = 100_000;

/// As many mistakes as are told at once.
const MOST_MISTAKES: usize = 20;

const COLUMNS: [&str; 5] = ["name", "cn", "san", "days", "key_type"];

/// Issues what the table names; every mistake in it is told before anything is issued.
pub(super) fn run(
    store: &Store,
    path: &Path,
    template: impl Fn(EntryName) -> ClientRequest,
    format: Format,
) -> Result<Exit, Failure> {
    let bytes = read(path)?;
    let refused = |message: String| Failure::usage(format!("{}: {message}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|error| refused(format!("it is not UTF-8: {error}")))?;
    let requests = requests(text, template).map_err(refused)?;
    let total = requests.len();
    let done = store.issue_clients(&requests, |done| output::progress(format_args!("{done} of {total}")))?;
    output::progress_done();
    let (recovered, warnings): (Vec<&Warning>, Vec<&Warning>) =
        done.warnings.iter().partition(|warning| matches!(warning, Warning::Recovered(_)));
    match format {
        Format::Text => output::line(format_args!(
            "issued {}, skipped {} that were there; in {}",
            done.issued.len(),
            done.skipped.len(),
            store.root().join("clients").display()
        )),
        Format::Json => output::line(json!({
            "issued": done.issued,
            "skipped": done.skipped,
            "recovered_files": recovered.len(),
            "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })),
    }
    if !recovered.is_empty() {
        output::warning(format_args!("{} files of a run that was killed were put in their places", recovered.len()));
    }
    warnings.iter().for_each(output::warning);
    Ok(Exit::Fine)
}

fn requests(text: &str, template: impl Fn(EntryName) -> ClientRequest) -> Result<Vec<ClientRequest>, String> {
    let mut lines = lines(text)?.into_iter();
    let columns = columns(&lines.next().ok_or("it is empty; its first line names the columns")?)?;
    let (mut requests, mut mistakes) = (Vec::new(), Vec::new());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for line in lines {
        match request(&line, &columns, &template) {
            Ok(request) => match seen.insert(request.name.to_string(), line.number) {
                None => requests.push(request),
                Some(first) => {
                    mistakes.push(format!("line {}: {} stands in line {first}, too", line.number, request.name));
                }
            },
            Err(mistake) => mistakes.push(format!("line {}: {mistake}", line.number)),
        }
        if requests.len() > MOST {
            return Err(format!("it has more than {MOST} lines; split it"));
        }
    }
    if mistakes.is_empty() {
        return Ok(requests);
    }
    let more = mistakes.len().saturating_sub(MOST_MISTAKES);
    mistakes.truncate(MOST_MISTAKES);
    let rest = if more > 0 { format!("; and {more} more mistakes") } else { String::new() };
    Err(format!("nothing was issued. {}{rest}", mistakes.join("; ")))
}

/// Which column stands where.
fn columns(line: &Line) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::new();
    for cell in &line.cells {
        let name = cell.trim().to_ascii_lowercase();
        let known = COLUMNS.into_iter().find(|column| *column == name).ok_or_else(|| {
            format!(
                "line {}: there is no column {:?}; the columns are {}",
                line.number,
                cell.trim(),
                COLUMNS.join(", ")
            )
        })?;
        if columns.contains(&known) {
            return Err(format!("line {}: the column {known} stands there twice", line.number));
        }
        columns.push(known);
    }
    if columns.contains(&"name") {
        Ok(columns)
    } else {
        Err(format!("line {}: the column name is missing", line.number))
    }
}

fn request(
    line: &Line,
    columns: &[&str],
    template: impl Fn(EntryName) -> ClientRequest,
) -> Result<ClientRequest, String> {
    if line.cells.len() > columns.len() {
        return Err(format!("it has {} cells and there are {} columns", line.cells.len(), columns.len()));
    }
    let cell = |wanted: &str| {
        let place = columns.iter().position(|column| *column == wanted)?;
        line.cells.get(place).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
    };
    let name = cell("name").unwrap_or_default();
    let mut request = template(name.parse().map_err(|error| format!("name {name:?}: {error}"))?);
    if let Some(text) = cell("cn") {
        request.subject.common_name = text.parse().map_err(|error| format!("cn {text:?}: {error}"))?;
    }
    if let Some(texts) = cell("san") {
        let parse = |text| parse_alternative_name(text).map_err(|error| format!("san {text:?}: {error}"));
        request.names = texts.split_whitespace().map(parse).collect::<Result<_, _>>()?;
    }
    if let Some(text) = cell("days") {
        let days = text.parse::<u32>().ok().filter(|days| DAYS.contains(&i64::from(*days)));
        request.validity =
            Validity::Days(days.ok_or_else(|| format!("days {text:?}: it is not a number from 1 to {}", DAYS.end()))?);
    }
    if let Some(text) = cell("key_type") {
        request.key_type = KeyType::from_str(text, true)
            .map_err(|_| format!("key_type {text:?}: it is none of p256, p384, ed25519, rsa2048, rsa3072, rsa4096"))?;
    }
    Ok(request)
}

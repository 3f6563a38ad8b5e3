//! `gateway certs list`.

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Format, days_ahead, json_path};
use crate::cli::output;
use crate::pki::{Row, State, Store, rfc3339};

const HEADINGS: [&str; 7] = ["NAME", "KIND", "SUBJECT", "SERIAL", "NOT AFTER", "DAYS LEFT", "STATE"];

const COLUMNS: &str = "name,kind,subject,subject_alt_names,serial,not_before,not_after,days_left,state,revoked_at,\
                       revocation_reason,sha256,file";

#[derive(Debug, Args)]
#[command(after_help = "Example: gateway certs list --expiring 30d")]
pub(super) struct Arguments {
    /// Only what can still be used and ends within this time, as in 30d
    #[arg(long, value_name = "TIME", value_parser = days_ahead)]
    expiring: Option<u32>,

    /// Comma-separated values, with a line of headings
    #[arg(long)]
    csv: bool,
}

pub(super) fn run(store: &Store, arguments: &Arguments, format: Format) -> Result<Exit, Failure> {
    let mut inventory = store.inventory()?;
    if let Some(days) = arguments.expiring {
        let usable = |state| !matches!(state, State::Revoked | State::Expired | State::Orphaned | State::Replaced);
        inventory.rows.retain(|row| usable(row.state) && row.days_left < i64::from(days));
    }
    match format {
        Format::Json if arguments.csv => return Err(Failure::usage("--csv or --output json, not both".to_owned())),
        Format::Json => {
            let unreadable: Vec<String> = inventory.unreadable.iter().map(|path| json_path(path)).collect();
            output::line(json!({ "certificates": inventory.rows, "unreadable": unreadable }));
        }
        Format::Text if arguments.csv => {
            output::line(COLUMNS);
            inventory.rows.iter().map(separated).for_each(output::line);
        }
        Format::Text => {
            table(&inventory.rows).iter().for_each(output::line);
            output::note(summary(&inventory.rows));
        }
    }
    for path in &inventory.unreadable {
        output::warning(format_args!("{} holds no certificate that can be read", path.display()));
    }
    Ok(if inventory.unreadable.is_empty() { Exit::Fine } else { Exit::Finding })
}

/// How many there are of each state, worst first.
fn summary(rows: &[Row]) -> String {
    let mut states: Vec<State> = rows.iter().map(|row| row.state).collect();
    states.sort();
    let counts: Vec<String> = states
        .chunk_by(|a, b| a == b)
        .filter_map(|same| Some(format!("{} {}", same.len(), same.first()?.as_str())))
        .collect();
    let plural = if rows.len() == 1 { "" } else { "s" };
    let colon = if rows.is_empty() { "" } else { ": " };
    format!("{} certificate{plural}{colon}{}", rows.len(), counts.join(", "))
}

/// One line of comma-separated values (RFC 4180).
fn separated(row: &Row) -> String {
    let days_left = row.days_left.to_string();
    let names = row.subject_alt_names.join(" ");
    let (not_before, not_after) = (rfc3339(row.not_before), rfc3339(row.not_after));
    let revoked_at = row.revoked_at.map(rfc3339).unwrap_or_default();
    let cells = [
        row.name.as_str(),
        row.kind.as_str(),
        &row.subject,
        &names,
        &row.serial,
        &not_before,
        &not_after,
        &days_left,
        row.state.as_str(),
        &revoked_at,
        row.revocation_reason.as_deref().unwrap_or_default(),
        &row.sha256,
        &row.file,
    ];
    cells.map(cell).join(",")
}

/// A spreadsheet takes a cell that begins so for a formula, and a client chose its own name.
fn cell(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}
fn table(rows: &[Row]) -> Vec<String> {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.name.clone(),
            row.kind.as_str().to_owned(),
            row.subject.clone(),
            row.serial.clone(),
            rfc3339(row.not_after),
            row.days_left.to_string(),
            row.state.as_str().to_owned(),
        ]
    }));
    let mut widths = [0; HEADINGS.len()];
    for line in &cells {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |line: &[String; HEADINGS.len()]| {
        let padded: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

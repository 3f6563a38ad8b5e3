//! `gateway certs list`.

use serde_json::json;

use super::{Exit, Failure, Format, json_path};
use crate::cli::output;
use crate::pki::{Row, State, Store, rfc3339};

const HEADINGS: [&str; 7] = ["NAME", "KIND", "SUBJECT", "SERIAL", "NOT AFTER", "DAYS LEFT", "STATE"];

pub(super) fn run(store: &Store, format: Format) -> Result<Exit, Failure> {
    let inventory = store.inventory()?;
    match format {
        Format::Text => {
            table(&inventory.rows).iter().for_each(output::line);
            output::note(summary(&inventory.rows));
        }
        Format::Json => {
            let unreadable: Vec<String> = inventory.unreadable.iter().map(|path| json_path(path)).collect();
            output::line(json!({ "certificates": inventory.rows, "unreadable": unreadable }));
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
    format!("{} certificate{plural}: {}", rows.len(), counts.join(", "))
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

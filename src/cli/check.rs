//! `gateway check`: is the configuration valid, and what does it come to.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit::Exit;
use super::output;
use super::overrides::RunFlags;
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, Diagnostic, Loaded, Origin, Severity};

/// Checks the configuration: exit code 0 when it is valid, 1 with warnings, 2 with errors.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    flags: RunFlags,
    /// Print the configuration as it takes effect, as TOML, and where each value comes from
    #[arg(long, conflicts_with = "output")]
    print: bool,
    /// How to say what was found
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Output,
}

/// How to say what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For a person
    #[default]
    Text,
    /// One JSON object
    Json,
}

impl Check {
    /// Runs the command.
    pub fn run(&self) -> Exit {
        let loaded = self.flags.load();
        let further = loaded.config.as_ref().map(inspect).unwrap_or_default();
        self.conclude(&loaded, further)
    }

    /// Says what was found, by loading and by whatever else looked at the configuration afterwards.
    fn conclude(&self, loaded: &Loaded, further: Vec<Diagnostic>) -> Exit {
        let diagnostics: Vec<_> = loaded.diagnostics.iter().cloned().chain(further).collect();
        if self.output == Output::Json {
            output::line(report(&diagnostics));
        } else {
            for diagnostic in &diagnostics {
                output::note(format_args!("{diagnostic}\n"));
            }
            let summary = summary(&diagnostics);
            if !summary.is_empty() {
                output::note(summary);
            }
            if self.print && loaded.config.is_some() {
                output::line(loaded.effective.to_string().trim_end());
            } else if verdict(&diagnostics) == Exit::Fine {
                output::line("configuration is valid");
            }
        }
        verdict(&diagnostics)
    }
}

/// What is found by opening the files that a configuration names.
fn inspect(config: &Config) -> Vec<Diagnostic> {
    let (severity, sentences): (fn(_, _) -> _, _) = match app::inspect(config, Clock::system().now()) {
        Ok(warnings) => (Diagnostic::warning, warnings),
        Err(errors) => (Diagnostic::error, errors),
    };
    sentences.into_iter().map(|sentence: String| severity(Origin::Default, sentence)).collect()
}

/// Errors are wrong usage, warnings a finding; notes are neither.
fn verdict(diagnostics: &[Diagnostic]) -> Exit {
    match diagnostics.iter().map(|diagnostic| diagnostic.severity).min() {
        Some(Severity::Error) => Exit::Usage,
        Some(Severity::Warning) => Exit::Finding,
        Some(Severity::Note) | None => Exit::Fine,
    }
}

/// `2 errors, 1 warning`; empty when there are neither.
fn summary(diagnostics: &[Diagnostic]) -> String {
    let counted = [Severity::Error, Severity::Warning].map(|severity| {
        let count = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        (count, format!("{count} {}{plural}", severity.as_str()))
    });
    counted.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect::<Vec<_>>().join(", ")
}

/// The contract with programs that read the answer.
#[derive(Debug, Serialize)]
struct Report<'a> {
    valid: bool,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    severity: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'static str>,
}

fn report(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let report = Report {
        valid: count(Severity::Error) == 0,
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        diagnostics: diagnostics.iter().map(json_line).collect(),
    };
    serde_json::to_string(&report).unwrap_or_default()
}

fn json_line(diagnostic: &Diagnostic) -> Line<'_> {
    let place = diagnostic.origin.place();
    let (file, flag, variable) = match &diagnostic.origin {
        Origin::Default => (None, None, None),
        Origin::Document(name) => (Some(&**name), None, None),
        Origin::File(place) => (Some(&*place.file), None, None),
        Origin::Flag(name) => (None, Some(*name), None),
        Origin::Variable(name) => (None, None, Some(*name)),
    };
    Line {
        severity: diagnostic.severity.as_str(),
        message: &diagnostic.message,
        hint: diagnostic.hint.as_deref(),
        file,
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        flag,
        variable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_thing_found_decides_the_exit_code() {
        let [error, warning, note] = [Diagnostic::error, Diagnostic::warning, Diagnostic::note]
            .map(|make: fn(Origin, &'static str) -> Diagnostic| make(Origin::Default, "x"));
        assert_eq!(verdict(&[]), Exit::Fine);
        assert_eq!(verdict(std::slice::from_ref(&note)), Exit::Fine);
        assert_eq!(verdict(&[note.clone(), warning.clone()]), Exit::Finding);
        assert_eq!(verdict(&[warning.clone(), error.clone()]), Exit::Usage);
        assert_eq!(summary(&[error.clone(), error, warning, note.clone()]), "2 errors, 1 warning");
        assert_eq!(summary(&[note]), "");
    }

    #[test]
    fn a_program_gets_the_place_as_numbers() {
        let diagnostic = Diagnostic::error(Origin::Variable("GATEWAY_LISTEN"), "bad \"x\"").help("mend it");
        assert_eq!(
            report(&[diagnostic]),
            r#"{"valid":false,"errors":1,"warnings":0,"diagnostics":[{"severity":"error","message":"bad \"x\"","hint":"mend it","variable":"GATEWAY_LISTEN"}]}"#
        );
    }
}

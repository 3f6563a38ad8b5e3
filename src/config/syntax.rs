//! From text to a tree of TOML tables, with every syntax error in words for operators.
//!
//! The parser goes on after an error, so that the values that could be read are checked in the same run. Its messages
//! name grammar rules; the mistakes people make (text without quotes, `key: value`, a backslash) are told as such.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::diagnostic::Diagnostic;
use super::reader::Problem;
use super::source::SourceText;

/// What a text holds.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// As much as could be read.
    pub table: DeTable<'a>,
    /// Every syntax error, at most one a line.
    pub errors: Vec<Diagnostic>,
    /// Whether an error is in a `[header]`, so that keys may seem to belong to another section than was meant.
    pub sections_unsure: bool,
}

/// A text without the lines at which the parser would give up, each byte of the rest in its place.
#[derive(Debug)]
pub struct Readable<'a> {
    text: Cow<'a, str>,
    /// What is wrong in the lines left out.
    errors: Vec<(Range<usize>, String)>,
}

impl<'a> Readable<'a> {
    /// Leaves out every line that is no `key = value`.
    pub fn of(source: &SourceText<'a>) -> Self {
        let mut text = Cow::Borrowed(source.text());
        if too_deep(&text).is_some() {
            return Self { text, errors: Vec::new() };
        }
        let (_, errors) = recover(&text);
        let gave_up = |message: &str| message.starts_with("key with no value");
        let lines: Vec<_> = errors
            .iter()
            .filter(|(_, message)| gave_up(message))
            .map(|(span, _)| source.line_range(span.start))
            .collect();
        for line in &lines {
            text.to_mut().replace_range(line.clone(), &" ".repeat(line.len()));
        }
        let errors = errors
            .into_iter()
            .filter(|(span, _)| lines.iter().any(|line| line.start <= span.start && span.start <= line.end))
            .collect();
        Self { text, errors }
    }
}

/// Reads a text as far as it can be read.
pub fn parse<'a>(source: &SourceText<'_>, readable: &'a Readable<'_>) -> Parsed<'a> {
    if let Some(span) = too_deep(source.text()) {
        let error = Diagnostic::error(source.origin(span), "too deeply nested");
        return Parsed { table: DeTable::new(), errors: vec![error], sections_unsure: true };
    }
    let (table, mut found) = recover(&readable.text);
    found.extend_from_slice(&readable.errors);
    found.sort_by_key(|(span, _)| span.start);
    // Later errors of the same line are mostly consequences of the first.
    found.dedup_by_key(|(span, _)| source.line_of(span.start).0);
    let sections_unsure = found.iter().any(|(span, message)| {
        let is_clear = message.starts_with("duplicate key") || message.starts_with("cannot extend value");
        !is_clear && source.line_at(span.start).trim_start().starts_with('[')
    });
    let errors = found
        .into_iter()
        .map(|(span, message)| {
            let problem = reword(source, span.clone(), &message);
            problem.into_error(|span| source.origin(span), span)
        })
        .collect();
    Parsed { table, errors, sections_unsure }
}

/// As much of a text as can be read, and what is wrong with the rest.
fn recover(text: &str) -> (DeTable<'_>, Vec<(Range<usize>, String)>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
    (table.into_inner(), errors)
}

/// Where brackets or dotted keys nest deeper than any configuration does.
///
/// The parser has limits of its own, but they multiply (80 brackets of keys with 80 dots each) to a tree whose `Drop`
/// overflows the stack of a worker thread.
fn too_deep(text: &str) -> Option<Range<usize>> {
    const DEEPEST: usize = 16;
    let mut open = Vec::new();
    let mut dots = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => open.push(token.kind()),
            // A bracket that closes nothing is left for the parser to report.
            TokenKind::RightSquareBracket => {
                open.pop_if(|kind| *kind == TokenKind::LeftSquareBracket);
            }
            TokenKind::RightCurlyBracket => {
                open.pop_if(|kind| *kind == TokenKind::LeftCurlyBracket);
            }
            TokenKind::Dot => dots += 1,
            TokenKind::Whitespace | TokenKind::Atom | TokenKind::BasicString | TokenKind::LiteralString => {}
            _ => dots = 0,
        }
        if open.len() > DEEPEST || dots > DEEPEST {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

fn reword(source: &SourceText<'_>, span: Range<usize>, message: &str) -> Problem {
    if !source.is_shown() {
        // The parser's own words repeat nothing of a file that holds a private key.
        return Problem::new(message.to_owned());
    }
    let line = source.line_at(span.start);
    let header = line.trim_start().starts_with('[');
    let found = source.text().get(span.clone()).unwrap_or_default();
    // A value of several words is meant as a whole.
    let (value, value_span) = match found.trim() {
        words if words.contains(' ') => (words, span.start..span.start + words.len()),
        _ => bare_value(source.text(), span.start),
    };
    let starts = |prefix: &str| message.starts_with(prefix);
    if starts("string values must be quoted") && value.is_empty() {
        return Problem::new("a value is missing");
    }
    if starts("string values must be quoted") || starts("invalid boolean") {
        return match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Problem::new(format!("`{value}` is not a value")).help("write `true`"),
            "false" | "no" | "off" => Problem::new(format!("`{value}` is not a value")).help("write `false`"),
            _ => {
                // What a word processor made of them.
                let text = value.trim_matches(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']);
                Problem::new("text is written in straight quotes").help(format!("write \"{text}\""))
            }
        }
        .at(value_span);
    }
    if ["invalid float", "invalid integer", "unexpected leading zero", "invalid digit", "invalid datetime"]
        .iter()
        .any(|prefix| starts(prefix))
        && !value.is_empty()
    {
        let problem = Problem::new(format!("`{value}` is not a number, and text is written in quotes"));
        return problem.help(format!("write \"{value}\"")).at(value_span);
    }
    if starts("missing escaped value") || starts("invalid escape") {
        return Problem::new("a backslash in \"...\" begins an escape sequence, and this is none")
            .help("write `\\\\`, or use single quotes: '...'");
    }
    if starts("invalid basic string") || starts("invalid literal string") || starts("invalid multi-line") {
        return Problem::new("the string is not closed").help("close it with the quotes it was opened with");
    }
    if starts("duplicate key") {
        let key = found.trim();
        return match (header, key) {
            (true, "route") => Problem::new("[route] stands among [[route]]").help("every route begins with [[route]]"),
            (true, _) => Problem::new(format!("{} stands twice", line.trim())).help("put its keys in one place"),
            (false, _) => Problem::new(format!("`{key}` is set twice")),
        };
    }
    if starts("cannot extend value") {
        return Problem::new(format!("`{}` already has a value that is no table", found.trim()));
    }
    let colon = !header && line.split_once(':').is_some_and(|(key, _)| is_bare_key(key.trim()));
    if (starts("invalid unquoted key") || starts("key with no value")) && colon {
        let key = line.split(':').next().unwrap_or_default().trim();
        return Problem::new("expected `=` after the key").help(format!("write `{key} = ...`"));
    }
    if starts("key with no value") {
        return Problem::new("expected `=` after the key").help("write `key = value`");
    }
    if starts("missing comma between array") || (starts("unexpected `=`") && message.contains("array")) {
        return Problem::new("expected `,` or `]`").help("is the list before this closed?");
    }
    if starts("missing comma between key-value") {
        return Problem::new("expected `,` or `}`").help("is the table before this closed?");
    }
    for (kind, name) in [("array", "the list"), ("inline table", "the table"), ("table", "the section's header")] {
        if starts(&format!("unclosed {kind}")) {
            return Problem::new(format!("{name} is not closed"));
        }
    }
    if starts("unexpected key or value") {
        return Problem::new("there is something after the value").help("one key and value to a line");
    }
    Problem::new(message.to_owned())
}

/// The text without quotes around a place: back to the `=`, bracket or comma before it, on to the next of them.
fn bare_value(text: &str, offset: usize) -> (&str, Range<usize>) {
    let is_end = |character: char| character.is_whitespace() || "=,[]{}#\"'".contains(character);
    let before = text.get(..offset).unwrap_or_default();
    let start = before.rfind(is_end).map_or(0, |at| at + before.get(at..).map_or(1, first_length));
    let rest = text.get(start..).unwrap_or_default();
    // `${X}` is what people write without quotes, too.
    let is_end = |character: char| character.is_whitespace() || ",]#\"'".contains(character);
    let length = rest.find(is_end).unwrap_or(rest.len());
    (rest.get(..length).unwrap_or_default(), start..start + length)
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

fn is_bare_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_would_nest_too_deep_is_not_parsed() {
        let dotted = "a.".repeat(17) + "a = 1";
        let brackets = "a = ".to_owned() + &"[".repeat(400_000);
        let key = "a.".repeat(70) + "a";
        let both = format!("{key} = {}1{}", format!("{{{key} = ").repeat(79), "}".repeat(79));
        for text in [dotted, "a.".repeat(500_000), brackets, both] {
            let source = SourceText::new("x", &text);
            let readable = Readable::of(&source);
            let parsed = parse(&source, &readable);
            assert_eq!(parsed.errors.len(), 1);
            assert_eq!(parsed.errors.first().unwrap().message, "too deeply nested");
        }
    }

    #[test]
    fn strings_comments_and_closed_brackets_do_not_nest() {
        let text =
            format!("a = '{}'\n# {}\nb = [{}]\n", "[".repeat(99), "{".repeat(99), "[1.5, 2.5, 3.5], ".repeat(99));
        let source = SourceText::new("x", &text);
        assert_eq!(parse(&source, &Readable::of(&source)).errors, []);
    }
}

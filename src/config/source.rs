//! The text of a configuration file, and which line and column a byte of it stands in.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Excerpt, Origin, Place};

/// The largest file that is read. A configuration of thousands of routes has a tenth of it.
pub const LARGEST_FILE: usize = 1 << 20;

/// A configuration file's name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name that diagnostics show.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Reads a file, but never more of it than [`LARGEST_FILE`].
    ///
    /// # Errors
    /// A diagnostic when it cannot be read, is too large, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::from_bytes(&name, bytes),
            Err(error) => {
                let origin = Origin::Document(name.into());
                Err(Diagnostic::error(origin, format!("the configuration file cannot be read: {error}")))
            }
        }
    }

    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// A diagnostic when they are too many, or not UTF-8.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, Diagnostic> {
        if bytes.len() > LARGEST_FILE {
            return Err(too_large(name));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name: name.to_owned(), text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes();
                let byte = bytes.get(at).copied().unwrap_or_default();
                let sound = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
                let mut place = SourceText::new(name, &sound).place(at..at);
                place.excerpt = None;
                let message = format!("the file is not UTF-8: byte 0x{byte:02X}");
                Err(Diagnostic::error(Origin::File(place), message).help("save it as UTF-8"))
            }
        }
    }
}

/// The one thing to say about a file of more than [`LARGEST_FILE`].
pub fn too_large(name: &str) -> Diagnostic {
    Diagnostic::error(Origin::Document(name.into()), "the configuration file is larger than 1 MiB")
}

/// A text with the beginnings of its lines.
#[derive(Debug)]
pub struct SourceText<'a> {
    name: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
    shown: bool,
}

impl<'a> SourceText<'a> {
    /// Indexes a text; a byte order mark is left out.
    pub fn new(name: &str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Self { name: name.into(), text, line_starts, shown: !text.contains("PRIVATE KEY-----") }
    }

    /// The text without a byte order mark.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Whether its lines may be repeated: not when a private key was pasted into the file.
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// The file as a whole.
    pub fn document(&self) -> Origin {
        Origin::Document(Arc::clone(&self.name))
    }

    /// Where a range of bytes is.
    pub fn origin(&self, span: Range<usize>) -> Origin {
        Origin::File(self.place(span))
    }

    /// Where a range of bytes is; what is beyond the end is at the end.
    pub fn place(&self, span: Range<usize>) -> Place {
        let (index, before) = self.line_of(span.start);
        let line = self.line(index);
        let column = before.chars().count();
        let length = span.end.saturating_sub(span.start);
        let rest = line.get(before.len()..).unwrap_or_default();
        let width = rest.char_indices().take_while(|(at, _)| *at < length).count().max(1);
        // A URL may hold a password, which is refused and not repeated either.
        let secret = line.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
        let excerpt = (self.shown && !secret).then(|| Arc::new(excerpt(line, column, width)));
        Place { file: Arc::clone(&self.name), line: index + 1, column: column + 1, excerpt }
    }

    /// The line a byte stands in, without its end.
    pub fn line_at(&self, offset: usize) -> &'a str {
        self.line(self.line_of(offset).0)
    }

    /// The bytes of the line a byte stands in, without its end.
    pub fn line_range(&self, offset: usize) -> Range<usize> {
        let (index, _) = self.line_of(offset);
        let start = self.line_starts.get(index).copied().unwrap_or_default();
        start..start + self.line(index).len()
    }

    /// The index of the line a byte stands in, and that line up to the byte.
    pub fn line_of(&self, offset: usize) -> (usize, &'a str) {
        let index = self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.line_starts.get(index).copied().unwrap_or_default();
        let line = self.line(index);
        let mut length = offset.saturating_sub(start).min(line.len());
        while !line.is_char_boundary(length) {
            length -= 1;
        }
        (index, line.get(..length).unwrap_or_default())
    }

    fn line(&self, index: usize) -> &'a str {
        let start = self.line_starts.get(index).copied().unwrap_or_default();
        let end = self.line_starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }
}

/// The part of a line that fits on a screen, around what is meant.
fn excerpt(line: &str, column: usize, width: usize) -> Excerpt {
    const LONGEST: usize = 120;
    const BEFORE: usize = 40;
    let count = line.chars().count();
    let skipped = if count <= LONGEST { 0 } else { column.saturating_sub(BEFORE) };
    let mut text = String::new();
    if skipped > 0 {
        text.push('…');
    }
    let offset = column - skipped + text.chars().count();
    // A tab would put the mark in the wrong place, and an escape sequence is nobody's to send to a terminal.
    text.extend(line.chars().skip(skipped).take(LONGEST).map(|character| match character {
        '\t' => ' ',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }));
    let cut = count > skipped + LONGEST;
    if cut {
        text.push('…');
    }
    let room = text.chars().count().saturating_sub(offset).max(1);
    Excerpt { text: text.into(), offset, width: width.min(room) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> (usize, usize) {
        let place = SourceText::new("x", text).place(span);
        (place.line, place.column)
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        assert_eq!(place("", 0..0), (1, 1));
        assert_eq!(place("a\nb", 2..3), (2, 1));
        assert_eq!(place("a\r\nbc\r\n", 4..5), (2, 2));
        assert_eq!(place("é = ü", 5..7), (1, 5));
        assert_eq!(place("\u{feff}a = 1", 4..5), (1, 5));
        assert_eq!(place("a\n", 2..2), (2, 1));
        assert_eq!(place("a\nb", 99..120), (2, 2));
        assert_eq!(place("é", 1..2), (1, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let excerpt = SourceText::new("x", &text).place(500..501).excerpt.unwrap();
        assert_eq!(excerpt.text.chars().count(), 122);
        assert_eq!(excerpt.text.chars().nth(excerpt.offset), Some('X'));
        let excerpt = SourceText::new("x", "\ta\u{1b}[0m").place(1..2).excerpt.unwrap();
        assert_eq!((&*excerpt.text, excerpt.offset, excerpt.width), (" a\u{fffd}[0m", 1, 1));
    }

    #[test]
    fn a_file_with_a_private_key_is_not_shown() {
        let text = "a = 1\nkey = '''-----BEGIN PRIVATE KEY-----\n";
        assert_eq!(SourceText::new("x", text).place(0..1).excerpt, None);
    }

    #[test]
    fn bytes_that_are_no_text_and_files_that_are_too_large_are_refused() {
        let error = Source::from_bytes("x.toml", b"a = 1\nb = \"\xff\"\n".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "x.toml:2:6: the file is not UTF-8: byte 0xFF\nhelp: save it as UTF-8");
        let error = Source::from_bytes("x.toml", vec![b'#'; LARGEST_FILE + 1]).unwrap_err();
        assert_eq!(error.to_string(), "x.toml: the configuration file is larger than 1 MiB");
        assert!(Source::from_bytes("x.toml", vec![b'#'; LARGEST_FILE]).is_ok());
        let error = Source::read(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(error.starts_with("no/such.toml: the configuration file cannot be read: No such file"), "{error}");
    }
}

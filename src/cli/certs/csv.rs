//! Comma-separated values (RFC 4180), as spreadsheets write them: a byte order mark, CRLF, quotes.

/// One line of the file, with the number of the line it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) cells: Vec<String>,
}

/// The lines that are not empty.
///
/// # Errors
/// A sentence with the line, for a quote that is never closed or that stands inside a cell.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut characters = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let mut number = 1;
    while characters.peek().is_some() {
        let begin = number;
        let mut cells = vec![String::new()];
        while let Some(cell) = cells.last_mut() {
            match characters.next() {
                Some('"') if cell.is_empty() => {
                    loop {
                        match characters.next() {
                            None => return Err(format!("line {begin}: a quote is not closed")),
                            Some('"') if characters.peek() == Some(&'"') => cell.extend(characters.next()),
                            Some('"') => break,
                            Some(character) => {
                                number += usize::from(character == '\n');
                                cell.push(character);
                            }
                        }
                    }
                    if !matches!(characters.peek(), None | Some(',' | '\r' | '\n')) {
                        return Err(format!("line {number}: something follows a closed quote"));
                    }
                }
                Some('"') => return Err(format!("line {number}: a quote stands inside a cell that is not quoted")),
                Some(',') => cells.push(String::new()),
                Some('\r') if characters.peek() == Some(&'\n') => {}
                Some('\n') | None => break,
                Some(character) => cell.push(character),
            }
        }
        number += 1;
        if cells.iter().any(|cell| !cell.trim().is_empty()) {
            lines.push(Line { number: begin, cells });
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_spreadsheets_write_them() {
        let read = lines("\u{feff}name,cn\r\na,\"A, \"\"the\"\" first\"\r\n\r\n,\nb,\"two\nlines\"\nc").unwrap();
        let read: Vec<(usize, Vec<&str>)> =
            read.iter().map(|line| (line.number, line.cells.iter().map(String::as_str).collect())).collect();
        assert_eq!(
            read,
            [(1, vec!["name", "cn"]), (2, vec!["a", "A, \"the\" first"]), (5, vec!["b", "two\nlines"]), (7, vec!["c"]),]
        );
        assert!(lines("").unwrap().is_empty());
        for (bad, message) in [("a\n\"b", "line 2"), ("a\"b", "line 1"), ("\"a\"b", "follows")] {
            assert!(lines(bad).unwrap_err().contains(message), "{bad}");
        }
    }
}

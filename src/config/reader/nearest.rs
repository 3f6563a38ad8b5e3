//! Which known word was probably meant by an unknown one.

/// The known word nearest to `word`, if one is near enough to be a guess worth making.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = fold(word);
    let known: Vec<&str> = known.into_iter().collect();
    let close = known
        .iter()
        .map(|candidate| (strsim::osa_distance(&word, &fold(candidate)), *candidate))
        .filter(|(distance, candidate)| *distance <= (word.len().min(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, candidate)) = close {
        return Some(candidate);
    }
    // "cert" for "certificate", "key" for "private_key", "ssl_certificate" for "certificate".
    let mut parts = known.iter().filter(|candidate| {
        let candidate = fold(candidate);
        let (short, long) = if word.len() < candidate.len() { (&word, &candidate) } else { (&candidate, &word) };
        short.len() >= 3 && (long.starts_with(short.as_str()) || long.ends_with(&format!("_{short}")))
    });
    match (parts.next(), parts.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_only_what_is_near() {
        let known = ["address", "max_connections", "certificate", "private_key", "uri", "delay"];
        for (word, guess) in [
            ("addres", Some("address")),
            ("adress", Some("address")),
            ("addresses", Some("address")),
            ("max-connections", Some("max_connections")),
            ("MaxConnections", Some("max_connections")),
            ("cert", Some("certificate")),
            ("ssl_certificate", Some("certificate")),
            ("key", Some("private_key")),
            ("url", Some("uri")),
            ("dealy", Some("delay")),
            ("colour", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), guess, "{word}");
        }
    }
}

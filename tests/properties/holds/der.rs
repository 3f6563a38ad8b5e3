//! DER, read and written by hand (X.690 section 8.1).

/// A value's tag, its content, and what follows it. Lengths in their shortest form only.
pub fn read(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
            (digits[0] != 0 && length >= 0x80).then_some((length, rest))?
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The values of a sequence's content; `None` when one is no DER.
pub fn all(mut content: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut values = Vec::new();
    while !content.is_empty() {
        let (tag, value, rest) = read(content)?;
        values.push((tag, value));
        content = rest;
    }
    Some(values)
}

/// A value of these parts.
pub fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![tag];
    match content.len() {
        0..=0x7f => bytes.push(content.len() as u8),
        0x80..=0xff => bytes.extend([0x81, content.len() as u8]),
        _ => bytes.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
    }
    bytes.extend(content);
    bytes
}

/// An object identifier's dotted text, or `#` and its bytes in hex where it is none by the letter.
pub fn dotted(content: &[u8]) -> String {
    let hex = || content.iter().fold("#".to_owned(), |text, byte| text + &format!("{byte:02X}"));
    let whole = content.last().is_some_and(|&last| last < 0x80);
    let mut arcs: Vec<Vec<u8>> = vec![Vec::new()];
    for &byte in content {
        arcs.last_mut().unwrap().push(byte & 0x7f);
        if byte < 0x80 {
            arcs.push(Vec::new());
        }
    }
    arcs.pop();
    // 18 groups of seven bits are 126; the nineteenth may have two more.
    let fits = |arc: &Vec<u8>| arc.len() <= 18 || arc.len() == 19 && arc[0] < 4;
    if !whole || arcs.iter().any(|arc| arc.len() > 1 && arc[0] == 0 || !fits(arc)) {
        return hex();
    }
    let mut numbers: Vec<u128> =
        arcs.iter().map(|arc| arc.iter().fold(0, |number, &group| number << 7 | u128::from(group))).collect();
    let root = (numbers[0] / 40).min(2);
    numbers[0] -= root * 40;
    numbers.insert(0, root);
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

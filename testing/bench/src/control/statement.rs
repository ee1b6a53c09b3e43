//! The Web App's own statements with their values written into them, as a script of pgbench has them.

/// A text. pgbench takes a colon and what follows it for one of its variables, also within quotes.
pub(super) fn text(value: &str) -> String {
    format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''").replace(':', "\\x3A"))
}

pub(super) fn uuid(value: impl std::fmt::Display) -> String {
    format!("'{value}'::uuid")
}

pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(format!("{}::jsonb", text(&serde_json::to_string(value)?)))
}

/// The hash of a token, as the Web App looks for it.
pub(super) fn token_hash(token: &str) -> String {
    format!("sha256(convert_to({}, 'UTF8'))", text(token))
}

/// Puts the values in the places of `$1`, `$2` and so on.
pub(super) fn fill(statement: &str, values: &[String]) -> String {
    let mut filled = String::with_capacity(statement.len());
    let mut pieces = statement.split('$');
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let value = number.parse::<usize>().ok().and_then(|number| values.get(number.checked_sub(1)?));
        filled.push_str(value.map_or("NULL", String::as_str));
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_numbers_were_and_hide_their_colons() {
        let values: Vec<String> = (1..=11).map(|number| text(&format!("v:{number}"))).collect();
        assert_eq!(fill("SELECT f($1, $11, $2)", &values), r"SELECT f(E'v\x3A1', E'v\x3A11', E'v\x3A2')");
        assert_eq!(text(r"it's a \ b"), r"E'it''s a \\ b'");
        assert_eq!(json(&serde_json::json!({"a": 1})).unwrap(), r#"E'{"a"\x3A1}'::jsonb"#);
    }
}

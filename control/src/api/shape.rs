//! What is wrong with the shape of a body: at which field, and what belongs there.
//!
//! A value of the wrong kind, a number out of its type's range, a word that is none of those there are, a field that nobody knows and one that is
//! missing are said as the rules of a setting are said ([`crate::app::rules`]): at the field, in words for whoever wrote it. What they wrote is not said
//! back.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use crate::app::rules::Problems;

/// No field of ours has so long a name.
const LONGEST_PATH_CHARS: usize = 120;
/// No list of ours has so long a text; what is longer has somebody's own words in it.
const LONGEST_WORDS: usize = 1000;
/// How JSON writes U+0000.
const NUL: &[u8] = b"\\u0000";

/// Reads a body that is JSON.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (field, message) = say(&error.path().to_string(), &error.inner().to_string());
        refuse(&field, message)
    })?;
    // PostgreSQL stores no U+0000. Whoever wants one in a text has to write it so.
    if text.windows(NUL.len()).any(|part| part == NUL)
        && let Some(field) = serde_json::from_slice(text).ok().and_then(|body| place_of_nul(&body))
    {
        return Err(refuse(&shown(&field), "has a character that cannot be stored, U+0000".into()));
    }
    Ok(read)
}

fn refuse(field: &str, message: String) -> ApiError {
    let mut problems = Problems::default();
    problems.add(field, message);
    ApiError::fields(problems).hint("See /api/v1/openapi.json for the shape of the body")
}

/// The first text with U+0000 in it, as `field`, `field[2]` or `field.inner`.
fn place_of_nul(value: &Value) -> Option<String> {
    let within = |place: String, inner: &Value| {
        place_of_nul(inner).map(|rest| {
            let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
            format!("{place}{dot}{rest}")
        })
    };
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(list) => {
            list.iter().enumerate().find_map(|(index, inner)| within(format!("[{index}]"), inner))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, inner)| {
            if name.contains('\0') { Some(name.replace('\0', "")) } else { within(name.clone(), inner) }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A path, as far as it is fit to be shown.
fn shown(path: &str) -> String {
    path.chars().filter(|letter| !letter.is_control()).take(LONGEST_PATH_CHARS).collect()
}

/// The field, and what is wrong with it, of what the deserializer says at a path.
fn say(path: &str, said: &str) -> (String, String) {
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let shown = shown(path);
    let place = if shown == "." { "body".to_owned() } else { shown };
    if let Some(missing) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if place == "body" { missing.to_owned() } else { format!("{place}.{missing}") };
        return (field, "must be there".into());
    }
    let message = if said.starts_with("unknown field ") {
        match words_of(said) {
            Some(known) => format!("is not known; there are {known}"),
            None => "is not known".into(),
        }
    } else if said.starts_with("unknown variant ") {
        format!("must be one of {}", words_of(said).unwrap_or_default())
    } else if let Some((_, expected)) =
        said.split_once(", expected ").filter(|_| said.starts_with("invalid "))
    {
        format!("must be {}", kind(expected))
    } else {
        format!("is not as it must be: {said}")
    };
    (place, message.chars().take(LONGEST_WORDS).collect())
}

/// The words that were expected: those in backquotes at the end.
fn words_of(said: &str) -> Option<String> {
    let (_, expected) = said.rsplit_once(", expected ")?;
    let words: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What a value must be, in words.
fn kind(expected: &str) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "a boolean" => "true or false".into(),
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "i8" | "i16" | "i32" | "i64" | "u64" | "usize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a string" | "a borrowed string" | "string or map" => "a text".into(),
        "a sequence" => "a list".into(),
        "a map" => "an object of names and values".into(),
        other if other.starts_with("struct ") => "an object".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        port: u16,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        is_isolated: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        kind: Word,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        Fast,
        Slow,
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field_and_what_was_written_is_not_said_back() {
        let secret = "s3cret".repeat(1000);
        for (text, said) in [
            (r#"{"port": 70000}"#.to_owned(), "port must be a whole number from 0 to 65535"),
            (r#"{"port": -1}"#.to_owned(), "port must be a whole number from 0 to 65535"),
            (format!(r#"{{"port": "{secret}"}}"#), "port must be a whole number from 0 to 65535"),
            (r#"{"port": 1, "is_isolated": "maybe"}"#.to_owned(), "is_isolated must be true or false"),
            (r#"{"port": 1, "inner": 1}"#.to_owned(), "inner must be a list"),
            (
                r#"{"port": 1, "inner": [{"kind": "x"}]}"#.to_owned(),
                "inner[0].kind must be one of fast, slow",
            ),
            (r#"{"port": 1, "inner": [{}]}"#.to_owned(), "inner[0].kind must be there"),
            ("{}".to_owned(), "port must be there"),
            (
                r#"{"port": 1, "colour": 1}"#.to_owned(),
                "colour is not known; there are port, inner, is_isolated",
            ),
            ("[]".to_owned(), "body must be an object"),
        ] {
            let error = format!("{:?}", read::<Outer>(text.as_bytes()).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

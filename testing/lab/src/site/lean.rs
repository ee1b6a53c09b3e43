//! A configuration as people write it: without what has its default. So an earlier build is not told of settings that it does not have.

use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

/// The shortest table that reads as the same settings.
pub(super) fn lean<S: Serialize + DeserializeOwned + PartialEq>(settings: &S) -> Result<Table> {
    let mut table = Table::try_from(settings)?;
    let mut places = Vec::new();
    list(&Value::Table(table.clone()), &mut Vec::new(), &mut places);
    for place in places {
        let mut shorter = table.clone();
        let removed = remove(&mut shorter, &place);
        if removed && shorter.clone().try_into::<S>().is_ok_and(|read| read == *settings) {
            table = shorter;
        }
    }
    Ok(table)
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Every key there is, a table before what is in it.
fn list(value: &Value, here: &mut Vec<Step>, places: &mut Vec<Vec<Step>>) {
    let mut deeper = |step: Step, value: &Value, is_key: bool| {
        here.push(step);
        if is_key {
            places.push(here.clone());
        }
        list(value, here, places);
        here.pop();
    };
    if let Some(table) = value.as_table() {
        table.iter().for_each(|(key, value)| deeper(Step::Key(key.clone()), value, true));
    } else if let Some(array) = value.as_array() {
        array.iter().enumerate().for_each(|(index, value)| deeper(Step::Index(index), value, false));
    }
}

/// False where it went with something above it.
fn remove(table: &mut Table, place: &[Step]) -> bool {
    let Some((Step::Key(first), rest)) = place.split_first() else { return false };
    if rest.is_empty() {
        return table.remove(first).is_some();
    }
    let (mut at, mut rest) = (table.get_mut(first), rest);
    while let (Some(value), Some((step, deeper))) = (at.take(), rest.split_first()) {
        rest = deeper;
        match step {
            Step::Key(key) if rest.is_empty() => {
                return value.as_table_mut().is_some_and(|table| table.remove(key).is_some());
            }
            Step::Key(key) => at = value.as_table_mut().and_then(|table| table.get_mut(key)),
            Step::Index(index) => at = value.as_array_mut().and_then(|array| array.get_mut(*index)),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use meridian_settings::{BackendSettings, BalanceSettings, RouteSettings};

    use super::*;

    #[test]
    fn only_what_differs_from_defaults_is_written() {
        let mut settings: BalanceSettings = toml::from_str("listen = \"127.0.0.1:1\"\nroute = []\n").unwrap();
        settings.max_dials = 7;
        settings.routes = vec![RouteSettings {
            eject_after: 9,
            ..RouteSettings::new(Some("a.test"), vec![BackendSettings::new("127.0.0.1:2")])
        }];
        let table = lean(&settings).unwrap();
        assert_eq!(table.clone().try_into::<BalanceSettings>().unwrap(), settings);
        let route = table["route"][0].as_table().unwrap();
        let keys: Vec<_> = route.keys().map(String::as_str).collect();
        assert_eq!(keys, ["backend", "eject_after", "sni"]);
        assert_eq!(table.keys().map(String::as_str).collect::<Vec<_>>(), ["listen", "max_dials", "route"]);
    }
}

//! What groups decide about their members, and what holds for one user in the end.
//!
//! A group sets some settings and leaves the others out. For each setting the group with the smallest priority number that sets it wins;
//! the group Everyone comes last, and below it the defaults. The database resolves (`policy_v1`); this is the shape of both sides, the
//! schema of every setting, and the judgement of what a person wrote.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Network, Policy};

/// What follows when nobody has used a session for the idle timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdleAction {
    /// The viewer is sent away; the session goes on.
    #[default]
    Disconnect,
    /// The session ends.
    End,
}

impl IdleAction {
    pub const ALL: [Self; 2] = [Self::Disconnect, Self::End];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::End => "end",
        }
    }
}

/// What one group decides; nothing where it leaves the decision to others. Zones are named by whoever reads it: by name at the API, by id in
/// the database. Settings that are unknown here are passed over, because the next release may have written them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_session_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_action: Option<IdleAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_zones: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_choice: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipboard_in: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipboard_out: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_home: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_mb: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

/// What holds for one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserPolicy {
    /// Sessions at once.
    pub session_limit: u32,
    /// Sessions of one workspace at once.
    pub workspace_session_limit: u32,
    /// Seconds from launch; 0: no limit.
    pub time_limit_s: u32,
    /// Seconds without keys or pointer, counted anew when the session is opened; 0: never idle.
    pub idle_timeout_s: u32,
    pub idle_action: IdleAction,
    /// Where sessions may run; empty: anywhere.
    pub allowed_zones: Vec<String>,
    /// Whether the user may name the zone.
    pub zone_choice: bool,
    /// Where sessions run when nobody names a zone.
    pub home_zone: Option<String>,
    pub clipboard_in: bool,
    pub clipboard_out: bool,
    pub view_only: bool,
    pub persistent_home: bool,
    /// Cores of one session; 0: as many as the workspace has.
    pub max_cpu: f64,
    /// Memory of one session; 0: as much as the workspace has.
    pub max_memory_mb: u32,
    /// The freest network that a session may have.
    pub network: Network,
}

impl Default for UserPolicy {
    fn default() -> Self {
        Self {
            session_limit: 10,
            workspace_session_limit: MOST_SESSIONS,
            time_limit_s: 0,
            idle_timeout_s: 0,
            idle_action: IdleAction::Disconnect,
            allowed_zones: Vec::new(),
            zone_choice: true,
            home_zone: None,
            clipboard_in: true,
            clipboard_out: true,
            view_only: false,
            persistent_home: false,
            max_cpu: 0.0,
            max_memory_mb: 0,
            network: Network::Full,
        }
    }
}

impl UserPolicy {
    /// What a stream's grant says. Who may only view writes nothing into the workspace, by whatever way.
    #[must_use]
    pub fn stream(&self) -> Policy {
        Policy {
            input: !self.view_only,
            clipboard_in: self.clipboard_in && !self.view_only,
            clipboard_out: self.clipboard_out,
            resize: !self.view_only,
        }
    }
}

const MOST_SESSIONS: u32 = 10_000;
const MOST_SECONDS: u32 = 366 * 24 * 3600;
const MOST_ZONES: usize = 1000;

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Switch,
    /// A whole number; 0 is taken besides those from `least` to `most`.
    Number {
        least: u32,
        most: u32,
    },
    /// Cores; 0 is taken, too.
    Cores,
    Words(&'static [&'static str]),
    /// A zone's name or id.
    Zone,
    /// Zones' names or ids.
    Zones,
}

/// A setting: its name, what its value looks like, and what it means, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub meaning: &'static str,
}

/// Every setting there is.
pub const SETTINGS: [Setting; 15] = [
    Setting {
        name: "session_limit",
        kind: Kind::Number { least: 0, most: MOST_SESSIONS },
        meaning: "Sessions that a user may hold at once",
    },
    Setting {
        name: "workspace_session_limit",
        kind: Kind::Number { least: 0, most: MOST_SESSIONS },
        meaning: "Sessions of one workspace that a user may hold at once",
    },
    Setting {
        name: "time_limit_s",
        kind: Kind::Number { least: 60, most: MOST_SECONDS },
        meaning: "Seconds after its launch at which a session ends; 0: it may stay",
    },
    Setting {
        name: "idle_timeout_s",
        kind: Kind::Number { least: 60, most: MOST_SECONDS },
        meaning: "Seconds without keys or pointer after which a session counts as idle; 0: never",
    },
    Setting {
        name: "idle_action",
        kind: Kind::Words(&["disconnect", "end"]),
        meaning: "What follows when a session is idle: its viewer is disconnected, or it ends",
    },
    Setting {
        name: "allowed_zones",
        kind: Kind::Zones,
        meaning: "Zones in which a user's sessions may run; empty: any",
    },
    Setting {
        name: "zone_choice",
        kind: Kind::Switch,
        meaning: "Whether a user may choose the zone of a launch",
    },
    Setting {
        name: "home_zone",
        kind: Kind::Zone,
        meaning: "The zone in which a user's sessions run when none is chosen",
    },
    Setting {
        name: "clipboard_in",
        kind: Kind::Switch,
        meaning: "Whether text may be pasted into a workspace",
    },
    Setting {
        name: "clipboard_out",
        kind: Kind::Switch,
        meaning: "Whether text may be copied out of a workspace",
    },
    Setting {
        name: "view_only",
        kind: Kind::Switch,
        meaning: "Whether a user sees their sessions without keys, pointer and paste",
    },
    Setting {
        name: "persistent_home",
        kind: Kind::Switch,
        meaning: "Whether a user's home directory outlives the session",
    },
    Setting {
        name: "max_cpu",
        kind: Kind::Cores,
        meaning: "Cores that one session may have at most; 0: as many as its workspace",
    },
    Setting {
        name: "max_memory_mb",
        kind: Kind::Number { least: 64, most: 16 << 20 },
        meaning: "MiB of memory that one session may have at most; 0: as much as its workspace",
    },
    Setting {
        name: "network",
        kind: Kind::Words(&["none", "internet", "full"]),
        meaning: "The freest network that a session may have",
    },
];

/// What is wrong, and with which setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SettingError {
    pub field: String,
    pub message: String,
}

impl SettingError {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl GroupSettings {
    /// Reads what a person or a program wrote, each setting for itself. Whether its zones exist, only the database knows.
    ///
    /// # Errors
    /// At the first setting that is unknown or out of its range.
    pub fn read(written: &Map<String, Value>) -> Result<Self, SettingError> {
        for (name, value) in written {
            let setting = SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
                let known = SETTINGS.map(|setting| setting.name).join(", ");
                SettingError::new(name, format!("there is no such setting; there are {known}"))
            })?;
            setting.kind.check(value).map_err(|message| SettingError::new(name, message))?;
        }
        serde_json::from_value(Value::Object(written.clone()))
            .map_err(|error| SettingError::new("settings", error.to_string()))
    }

    /// Judges the settings of one group beside each other. Its zones must be named alike: all by name, or all by id.
    ///
    /// # Errors
    /// At the setting that contradicts another.
    pub fn check_together(&self) -> Result<(), SettingError> {
        if let (Some(zones), Some(home)) = (&self.allowed_zones, &self.home_zone)
            && !zones.is_empty()
            && !zones.contains(home)
        {
            return Err(SettingError::new("home_zone", "it must be one of allowed_zones"));
        }
        if self.view_only == Some(true) && self.clipboard_in == Some(true) {
            return Err(SettingError::new(
                "clipboard_in",
                "who may only view cannot paste: turn it off, or view_only",
            ));
        }
        if let (Some(all), Some(each)) = (self.session_limit, self.workspace_session_limit)
            && each > all
        {
            return Err(SettingError::new("workspace_session_limit", "it cannot be more than session_limit"));
        }
        if let (Some(limit), Some(idle)) = (self.time_limit_s, self.idle_timeout_s)
            && limit > 0
            && idle >= limit
        {
            return Err(SettingError::new("idle_timeout_s", "it must be shorter than time_limit_s, or 0"));
        }
        Ok(())
    }
}

impl Kind {
    fn check(self, value: &Value) -> Result<(), String> {
        let fits = match self {
            Self::Switch => value.is_boolean(),
            Self::Number { least, most } => value
                .as_u64()
                .is_some_and(|number| number == 0 || (u64::from(least)..=u64::from(most)).contains(&number)),
            Self::Cores => {
                value.as_f64().is_some_and(|cores| cores == 0.0 || (0.05..=1024.0).contains(&cores))
            }
            Self::Words(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Zone => value.as_str().is_some_and(is_zone),
            Self::Zones => value.as_array().is_some_and(|zones| {
                zones.len() <= MOST_ZONES
                    && zones.iter().enumerate().all(|(place, zone)| {
                        zone.as_str().is_some_and(is_zone) && !zones[..place].contains(zone)
                    })
            }),
        };
        if fits { Ok(()) } else { Err(self.wanted()) }
    }

    /// What a value must be, in words.
    #[must_use]
    pub fn wanted(self) -> String {
        match self {
            Self::Switch => "it is true or false".into(),
            Self::Number { least: 0, most } => format!("it is a whole number from 0 to {most}"),
            Self::Number { least, most } => format!("it is 0, or a whole number from {least} to {most}"),
            Self::Cores => "it is 0, or a number of cores from 0.05 to 1024".into(),
            Self::Words(words) => format!("it is one of {}", words.join(", ")),
            Self::Zone => "it is a zone's name".into(),
            Self::Zones => format!("it is a list of zones' names, each once, at most {MOST_ZONES}"),
        }
    }
}

fn is_zone(text: &str) -> bool {
    (1..=40).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GroupSettings, SettingError> {
        let settings =
            GroupSettings::read(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())?;
        settings.check_together().map(|()| settings)
    }

    #[test]
    fn every_setting_of_the_policy_has_a_schema_and_fits_it() {
        let defaults = serde_json::to_value(UserPolicy::default()).unwrap();
        let mut names: Vec<_> = SETTINGS.map(|setting| setting.name).into();
        names.sort_unstable();
        assert_eq!(defaults.as_object().unwrap().keys().collect::<Vec<_>>(), names);
        for setting in SETTINGS {
            let value = &defaults[setting.name];
            assert!(value.is_null() || setting.kind.check(value).is_ok(), "{}", setting.name);
        }
    }

    #[test]
    fn what_a_group_sets_is_read_and_written_again() {
        let text = r#"{"session_limit":3,"idle_timeout_s":600,"idle_action":"end","allowed_zones":["london"],"home_zone":"london",
            "view_only":true,"max_cpu":1.5,"network":"internet"}"#;
        let settings = read(text).unwrap();
        assert_eq!(settings.idle_action, Some(IdleAction::End));
        assert_eq!(serde_json::to_value(&settings).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_is_unknown_out_of_range_or_contradictory_is_refused_at_its_field() {
        for (text, field) in [
            (r#"{"session_limt": 1}"#, "session_limt"),
            (r#"{"session_limit": -1}"#, "session_limit"),
            (r#"{"session_limit": 10001}"#, "session_limit"),
            (r#"{"session_limit": 1.5}"#, "session_limit"),
            (r#"{"session_limit": null}"#, "session_limit"),
            (r#"{"time_limit_s": 59}"#, "time_limit_s"),
            (r#"{"idle_action": "explode"}"#, "idle_action"),
            (r#"{"view_only": "yes"}"#, "view_only"),
            (r#"{"max_cpu": 0.01}"#, "max_cpu"),
            (r#"{"allowed_zones": ["a", "a"]}"#, "allowed_zones"),
            (r#"{"allowed_zones": "london"}"#, "allowed_zones"),
            (r#"{"allowed_zones": ["london"], "home_zone": "virginia"}"#, "home_zone"),
            (r#"{"view_only": true, "clipboard_in": true}"#, "clipboard_in"),
            (r#"{"session_limit": 1, "workspace_session_limit": 2}"#, "workspace_session_limit"),
            (r#"{"time_limit_s": 600, "idle_timeout_s": 600}"#, "idle_timeout_s"),
        ] {
            assert_eq!(read(text).unwrap_err().field, field, "{text}");
        }
        for text in [
            "{}",
            r#"{"time_limit_s": 0, "idle_timeout_s": 600}"#,
            r#"{"allowed_zones": [], "home_zone": "x"}"#,
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn who_may_only_view_writes_nothing() {
        let policy = UserPolicy { view_only: true, ..UserPolicy::default() }.stream();
        assert_eq!(policy, Policy { input: false, clipboard_in: false, clipboard_out: true, resize: false });
        assert_eq!(UserPolicy::default().stream(), Policy::OWNER);
    }

    #[test]
    fn a_policy_of_the_next_release_is_read_as_far_as_it_is_known() {
        let policy: UserPolicy =
            serde_json::from_str(r#"{"view_only":true,"not_invented_yet":[1]}"#).unwrap();
        assert_eq!(policy, UserPolicy { view_only: true, ..UserPolicy::default() });
    }
}

//! Typed identifiers.
//!
//! Every thing that Meridian stores or names on the wire has an id of its own type, so that a session's id cannot be handed to a
//! function that wants a node's. Ids are UUIDs of version 7: they sort by the time they were made, which keeps indexes compact and
//! keyset pages stable. In text they are the usual 36 characters, fit for a DNS label (SNI) and a path segment.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
pub use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, later than every id made before it by this process.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// One installation of Meridian: one database. Containers carry it as a label.
    DeploymentId,
    /// A zone. Immutable, whatever its name becomes; SNI and tokens use it.
    ZoneId,
    /// A node: one running role, enrolled once.
    NodeId,
    /// A person with an account.
    UserId,
    /// A group of people.
    GroupId,
    /// A person's key for programs.
    ApiKeyId,
    /// An entry of the catalogue.
    WorkspaceId,
    /// A home that outlives its sessions.
    HomeId,
    /// One launched workspace of one user.
    SessionId,
    /// A move of people from zone to zone.
    ReassignmentId,
    /// The stream between a viewer and an agent, whatever path carries it.
    StreamId,
    /// Somebody's looking on at somebody else's session, from the question to its end.
    WatchId,
    /// A connect ticket (`jti`).
    TicketId,
    /// A stream grant (`jti`).
    GrantId,
    /// A signing key (`kid`).
    KeyId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_sort_by_age() {
        let (first, second) = (SessionId::generate(), SessionId::generate());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<SessionId>().unwrap(), first);
    }
}

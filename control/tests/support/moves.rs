//! Moves between zones and borders of zones, as they should be whatever happened meanwhile: the audit log is played again on a model of three lines, and
//! each new session is held against what its zones allowed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use meridian_ids::Uuid;
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Client;

type Homes = BTreeMap<Uuid, Option<Uuid>>;

/// What a move replaced.
#[derive(Default, Deserialize)]
struct Before {
    users: Homes,
    groups: Homes,
}

/// The home zones of accounts and of groups; who has none is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeZones {
    pub users: BTreeMap<Uuid, Uuid>,
    pub groups: BTreeMap<Uuid, Uuid>,
}

fn put(homes: &mut BTreeMap<Uuid, Uuid>, whose: Uuid, home: Option<Uuid>) {
    match home {
        Some(zone) => homes.insert(whose, zone),
        None => homes.remove(&whose),
    };
}

/// Moves and undone moves of one kind of things with homes, one after the other.
fn play(homes: &mut BTreeMap<Uuid, Uuid>, before: &Homes, to: Uuid, undone: bool) -> Result<()> {
    for (whose, home) in before {
        let stands = homes.get(whose).copied();
        if !undone {
            ensure!(stands == *home, "a move of {whose} wrote down {home:?}, and it was {stands:?}");
            homes.insert(*whose, to);
        } else if stands == Some(to) {
            put(homes, *whose, *home);
        }
    }
    Ok(())
}

impl HomeZones {
    pub async fn read(sql: &Client) -> Result<Self> {
        let homes =
            |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let users = "SELECT id, home_zone FROM users WHERE home_zone IS NOT NULL";
        let groups = "SELECT id, (settings->>'home_zone')::uuid FROM groups WHERE settings ? 'home_zone'";
        Ok(Self { users: homes(sql.query(users, &[]).await?), groups: homes(sql.query(groups, &[]).await?) })
    }

    /// As the audit log says they became what they are. Moves that touch the same account or group are there in the order in which they held its lock.
    pub async fn replayed(sql: &Client) -> Result<Self> {
        let rows = "SELECT a.action = 'undo_reassignment', r.to_zone, r.before FROM audit a
             JOIN reassignments r ON r.id::text = a.detail->>'id'
             WHERE a.action IN ('reassign_user', 'reassign_group', 'reassign_zone', 'undo_reassignment') ORDER BY a.id";
        let mut homes = Self::default();
        for row in sql.query(rows, &[]).await? {
            let (undone, to): (bool, Uuid) = (row.get(0), row.get(1));
            let before: Before = serde_json::from_value(row.get::<_, Value>(2))?;
            play(&mut homes.users, &before.users, to, undone)?;
            play(&mut homes.groups, &before.groups, to, undone)?;
        }
        Ok(homes)
    }
}

/// What must hold of moves at any moment.
pub async fn judge_moves(sql: &Client) -> Result<()> {
    let (homes, replayed) = (HomeZones::read(sql).await?, HomeZones::replayed(sql).await?);
    ensure!(homes == replayed, "homes are {homes:?}, and what was done makes {replayed:?}");
    let offers = "SELECT count(*) FROM sessions s LEFT JOIN reassignments r ON r.id = s.reassignment_id
         WHERE s.reassignment_id IS NOT NULL AND (r.id IS NULL OR r.undone_at IS NOT NULL)";
    let offers: i64 = sql.query_one(offers, &[]).await?.get(0);
    ensure!(offers == 0, "{offers} sessions are offered a move that was undone");
    Ok(())
}

/// What one zone allows launches that begin in it, and others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Border {
    isolated: bool,
    search: bool,
    alternates: Vec<Uuid>,
}

/// All zones' borders at one moment at which nothing happened.
#[derive(Clone, Debug, Default)]
pub struct Borders {
    zones: BTreeMap<Uuid, Border>,
    judged: BTreeSet<Uuid>,
}

impl Borders {
    /// Reads the zones again, as they are for what comes next.
    pub async fn read(&mut self, sql: &Client) -> Result<()> {
        let zones = "SELECT id, (settings->>'isolated')::boolean, (settings->>'search_alternate_zones')::boolean, alternates FROM zones";
        let border = |row: &tokio_postgres::Row| Border {
            isolated: row.get(1),
            search: row.get(2),
            alternates: row.get(3),
        };
        self.zones = sql.query(zones, &[]).await?.iter().map(|row| (row.get(0), border(row))).collect();
        Ok(())
    }

    /// Whether a launch that began in one of two zones might have gone to the other as they were, where it is known how they were.
    fn allows(&self, from: Uuid, to: Uuid, changed: &BTreeSet<Uuid>) -> bool {
        let known = |zone: Uuid| self.zones.get(&zone).filter(|_| !changed.contains(&zone));
        let leaves = known(from).is_none_or(|border| {
            !border.isolated
                && border.search
                && (border.alternates.is_empty() || border.alternates.contains(&to))
        });
        leaves && known(to).is_none_or(|border| !border.isolated)
    }

    /// Judges the sessions that are new since the last time. `changed`: zones that were written meanwhile, so that nobody knows what a launch saw.
    pub async fn judge(&mut self, sql: &Client, changed: &BTreeSet<Uuid>) -> Result<()> {
        let sessions = "SELECT s.id, z.id, s.zone_id, s.requested_zone IS NULL OR s.requested_zone = z.name
             FROM sessions s JOIN zones z ON z.name = s.explanation->'choice'->>'zone'";
        for row in sql.query(sessions, &[]).await? {
            let (session, from, to): (Uuid, Uuid, Uuid) = (row.get(0), row.get(1), row.get(2));
            if !self.judged.insert(session) {
                continue;
            }
            ensure!(row.get::<_, bool>(3), "session {session} began where nobody asked it to");
            ensure!(
                from == to || self.allows(from, to, changed),
                "session {session} went from {from} to {to} with {:?}",
                self.zones
            );
        }
        self.read(sql).await
    }
}

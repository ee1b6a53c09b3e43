//! Faults by chance, which a seed repeats: parts are killed and frozen, hosts and lines cut, one at a time, each mended before the next.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{EACH, LONDON, PEOPLE, PRIMARY, Part},
    stage::Stage,
};

const SHORT: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// A fault lasts up to this long; a stream's whole wait must fit into the resume window.
const LASTS: Duration = Duration::from_secs(8);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "random_faults",
    about: "a minute of faults by chance: parts killed and frozen, hosts and lines cut; --seed repeats them",
    play: |stage| Box::pin(play(stage, SHORT)),
    ..ORDINARY
};

pub(super) const LONG: Scenario = Scenario {
    name: "random_faults_long",
    about: "an hour of them",
    long: true,
    limit: Duration::from_secs(3600 + 900),
    play: |stage| Box::pin(play(stage, HOUR)),
    ..SCENARIO
};

async fn play(stage: &mut Stage, lasts: Duration) -> Result<()> {
    stage.strike(|_| Ok(()))?;
    let mut faults = 0.0;
    while stage.since_strike() < lasts || faults == 0.0 {
        one(stage).await?;
        faults += 1.0;
        stage.all_show_anew(BACK_LIMIT).await;
    }
    stage.note("faults", faults);
    Ok(())
}

/// Breaks something, and mends it.
async fn one(stage: &mut Stage) -> Result<()> {
    let number = stage.any_number();
    let parts = [
        Part::proxy(LONDON, number),
        Part::entry(LONDON, number),
        Part::web(number),
        Part::private_balancer(LONDON),
        Part::primary_balancer(),
    ];
    let part = parts[stage.chance.index(parts.len())].clone();
    let lasts = LASTS.mul_f64(stage.chance.part());
    match stage.chance.index(4) {
        0 => {
            stage.tell(format!("{} is killed", part.name));
            let killed = stage.site.kill(&part)?;
            stage.site.part(&part)?.replaced(killed, BACK_LIMIT).await
        }
        1 => {
            stage.tell(format!("{} is frozen for {lasts:.1?}", part.name));
            stage.site.freeze(&part)?;
            sleep(lasts).await;
            stage.site.thaw(&part).map(drop)
        }
        2 => {
            stage.tell(format!("the host of {} is cut off for {lasts:.1?}", part.name));
            stage.site.connect(&part, false)?;
            sleep(lasts).await;
            stage.site.connect(&part, true)
        }
        _ => {
            let other = [PRIMARY, PEOPLE][stage.chance.index(2)];
            stage.tell(format!(
                "the line between regions {} and {other} is cut for {lasts:.1?}",
                LONDON.region
            ));
            stage.site.wan.cut(LONDON.region, other, true);
            sleep(lasts).await;
            stage.site.wan.cut(LONDON.region, other, false);
            Ok(())
        }
    }
}

const _: () = assert!(EACH == 2, "any_number chooses between two");

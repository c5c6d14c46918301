//! What is read and written where the nodes meet; every answer is bounded.

use std::time::Duration;

use cirque_shared::alert::Millis;
use cirque_shared::alert::fleet::{Happened, Meeting, Snapshot, Standing};
use cirque_shared::alert::notice::Told;
use cirque_shared::alert::silence::{self, Silence};
use sea_query::{Expr, ExprTrait, InsertStatement, OnConflict, Order, Query, SelectStatement};
use serde::de::DeserializeOwned;

use crate::db::{Db, Error, Row};

const LEASE: &str = "alert_lease";
const NODES: &str = "alert_nodes";
const TOLD: &str = "alert_told";
const SILENCES: &str = "alert_silences";
const HISTORY: &str = "alert_history";

/// Nodes that are heard of; more have no place on one page.
const MOST_NODES: u64 = 200;

/// How long a node that is silent is heard of.
const SILENT: Duration = Duration::from_secs(60);

/// How long things that happened are kept: 30 days.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A node's address beside its name.
pub(super) type Address = (String, String);

/// Says what the node of this name and address saw, takes the lead when nobody has it, and hears the rest. Where
/// somebody else says whether it leads, that holds.
pub(super) async fn meet(
    db: &Db,
    (node, address): (&str, &str),
    mine: &Snapshot,
    lease: Duration,
    leads: Option<bool>,
) -> Result<(Meeting, Vec<Address>), Error> {
    let now = mine.at;
    let until = now + millis(lease);
    let mut writer = db.write().await?;
    let mut lead = Query::update();
    lead.table(LEASE)
        .value("holder", node)
        .value("until_at", stored(until))
        .and_where(Expr::col("id").eq(1_i64));
    if leads.is_none() {
        lead.and_where(Expr::col("holder").eq(node).or(Expr::col("until_at").lte(stored(now))));
    }
    let leads = match leads {
        Some(false) => false,
        Some(true) | None => writer.execute(&lead).await? == 1,
    };
    let samples = serde_json::to_string(&mine.samples).unwrap_or_default();
    let say = Query::insert()
        .into_table(NODES)
        .columns(["node", "address", "seen_at", "samples"])
        .values_panic([node.into(), address.into(), stored(now).into(), samples.into()])
        .on_conflict(OnConflict::column("node").update_columns(["address", "seen_at", "samples"]).to_owned())
        .take();
    writer.execute(&say).await?;
    for told in &mine.told {
        writer.execute(&noted(told)).await?;
    }
    if leads {
        let old = stored(now.saturating_sub(millis(SILENT)));
        let gone = Query::delete().from_table(NODES).and_where(Expr::col("seen_at").lt(old)).take();
        writer.execute(&gone).await?;
    }
    writer.commit().await?;

    let mut snapshots = Vec::new();
    let mut addresses = Vec::new();
    let all = Query::select()
        .columns(["node", "address", "seen_at", "samples"])
        .from(NODES)
        .and_where(Expr::col("seen_at").gte(stored(now.saturating_sub(millis(SILENT)))))
        .order_by("node", Order::Asc)
        .limit(MOST_NODES)
        .take();
    for row in db.watch().all(&all).await? {
        let mut cells = row.cells();
        let (instance, address): (String, String) = (cells.take()?, cells.take()?);
        let (at, samples): (i64, String) = (cells.take()?, cells.take()?);
        addresses.push((instance.clone(), address));
        // Another version's samples may not be readable: then that node has nothing to say.
        let samples = serde_json::from_str(&samples).unwrap_or_default();
        let at = u64::try_from(at).unwrap_or(0);
        snapshots.push(Snapshot { instance, at, samples, told: Vec::new() });
    }
    let standing = if leads { Standing::Leads(until) } else { Standing::Follows };
    let told = told(db).await?;
    let silences = silences(db, now).await?;
    Ok((Meeting { standing, snapshots, told, silences }, addresses))
}

async fn told(db: &Db) -> Result<Vec<Told>, Error> {
    let all = Query::select().columns(["channel", "rule", "told_at", "alerts"]).from(TOLD).limit(1000).take();
    let mut told = Vec::new();
    for row in db.watch().all(&all).await? {
        let mut cells = row.cells();
        let (channel, group): (String, String) = (cells.take()?, cells.take()?);
        let (at, alerts): (i64, String) = (cells.take()?, cells.take()?);
        if let Ok(alerts) = serde_json::from_str(&alerts) {
            told.push(Told { channel, group, alerts, at: u64::try_from(at).unwrap_or(0) });
        }
    }
    Ok(told)
}

/// What was told; an older word does not replace a newer one.
fn noted(told: &Told) -> InsertStatement {
    let alerts = serde_json::to_string(&told.alerts).unwrap_or_default();
    let is_newer = Expr::col((TOLD, "told_at")).lte(stored(told.at));
    Query::insert()
        .into_table(TOLD)
        .columns(["channel", "rule", "told_at", "alerts"])
        .values_panic([
            told.channel.as_str().into(),
            told.group.as_str().into(),
            stored(told.at).into(),
            alerts.into(),
        ])
        .on_conflict(
            OnConflict::columns(["channel", "rule"])
                .update_columns(["told_at", "alerts"])
                .action_and_where(is_newer)
                .to_owned(),
        )
        .take()
}

pub(super) async fn note(db: &Db, told: &Told) -> Result<(), Error> {
    let mut writer = db.write().await?;
    writer.execute(&noted(told)).await?;
    writer.commit().await
}

pub(super) async fn silence(db: &Db, silence: &Silence) -> Result<(), Error> {
    let text = serde_json::to_string(silence).unwrap_or_default();
    let insert = Query::insert()
        .into_table(SILENCES)
        .columns(["id", "until_at", "silence"])
        .values_panic([silence.id.as_str().into(), stored(silence.until).into(), text.into()])
        .take();
    let over = Query::delete()
        .from_table(SILENCES)
        .and_where(Expr::col("until_at").lte(stored(silence.from)))
        .take();
    let mut writer = db.write().await?;
    writer.execute(&over).await?;
    writer.execute(&insert).await?;
    writer.commit().await
}

pub(super) async fn unsilence(db: &Db, id: &str) -> Result<bool, Error> {
    let delete = Query::delete().from_table(SILENCES).and_where(Expr::col("id").eq(id)).take();
    let mut writer = db.write().await?;
    let ended = writer.execute(&delete).await?;
    writer.commit().await?;
    Ok(ended > 0)
}

pub(super) async fn silences(db: &Db, now: Millis) -> Result<Vec<Silence>, Error> {
    let all = Query::select()
        .column("silence")
        .from(SILENCES)
        .and_where(Expr::col("until_at").gt(stored(now)))
        .order_by("until_at", Order::Asc)
        .limit(silence::MOST as u64)
        .take();
    read(db, &all).await
}

pub(super) async fn remember(db: &Db, happened: &Happened, now: Millis) -> Result<(), Error> {
    let text = serde_json::to_string(happened).unwrap_or_default();
    let insert = Query::insert()
        .into_table(HISTORY)
        .columns(["at", "happened"])
        .values_panic([stored(happened.at).into(), text.into()])
        .take();
    let old = stored(now.saturating_sub(millis(KEPT)));
    let forget = Query::delete().from_table(HISTORY).and_where(Expr::col("at").lt(old)).take();
    let mut writer = db.write().await?;
    writer.execute(&insert).await?;
    writer.execute(&forget).await?;
    writer.commit().await
}

pub(super) async fn history(db: &Db, most: usize) -> Result<Vec<Happened>, Error> {
    let last = Query::select()
        .column("happened")
        .from(HISTORY)
        .order_by("id", Order::Desc)
        .limit(most as u64)
        .take();
    read(db, &last).await
}

/// The rows that can be read: another version may have written others.
async fn read<T: DeserializeOwned>(db: &Db, select: &SelectStatement) -> Result<Vec<T>, Error> {
    let rows = db.watch().all(select).await?;
    let texts = rows.iter().map(|row: &Row| row.cells().take::<String>());
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

/// As the database keeps a moment.
fn stored(at: Millis) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! Statements that take long: they end with the request they belong to, in both databases.

use std::time::Duration;

use cirque_app::db::Error;
use sea_query::Query;

use crate::site::{Data, Site};

/// Far more than it takes, far less than the limits that are not under test.
const SOON: Duration = Duration::from_secs(10);

// key: server.max_execution_time
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_takes_longer_than_a_request_may() {
    let mut data = Data::seeded(1).await;
    data.config.server.max_execution_time = Duration::from_millis(200);
    let site = data.open().await;
    let endless = Data::endless();
    let outcome = tokio::time::timeout(SOON, site.state.db.read().first(&endless)).await.unwrap();
    assert!(matches!(outcome, Err(Error::TooSlow(_))), "{outcome:?}");
    let mut writer = site.state.db.write().await.unwrap();
    let outcome = tokio::time::timeout(SOON, writer.first(&endless)).await.unwrap();
    assert!(matches!(outcome, Err(Error::TooSlow(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_waits_for_gives_its_connection_back() {
    let mut data = Data::seeded(1).await;
    (data.config.database.max_readers, data.config.database.max_writers) = (1, 1);
    let site = data.open().await;
    let (endless, moment) = (Data::endless(), Duration::from_millis(300));
    for _ in 0..3 {
        tokio::time::timeout(moment, site.state.db.read().first(&endless)).await.unwrap_err();
        let mut writer = site.state.db.write().await.unwrap();
        tokio::time::timeout(moment, writer.first(&endless)).await.unwrap_err();
        drop(writer);
        // There is one connection for each.
        let any = Query::select().column("name").from("settings").limit(1).take();
        tokio::time::timeout(SOON, site.state.db.read().first(&any)).await.unwrap().unwrap();
        let mut writer = tokio::time::timeout(SOON, site.state.db.write()).await.unwrap().unwrap();
        writer.first(&any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_left_half_way_is_undone() {
    let site = Site::seeded(1).await;
    let mut writer = site.state.db.write().await.unwrap();
    let delete = Query::delete().from_table("post_tags").take();
    writer.execute(&delete).await.unwrap();
    drop(writer);
    let mut writer = tokio::time::timeout(SOON, site.state.db.write()).await.unwrap().unwrap();
    let any = Query::select().column("post_id").from("post_tags").limit(1).take();
    assert!(writer.first(&any).await.unwrap().is_some());
}

//! What a write makes stale, as whoever keeps answers sees it.

use std::collections::BTreeSet;

use cirque_app::changes::{Tag, bump, versions};

use crate::site::Site;

#[tokio::test]
async fn a_number_grows_with_each_write_and_not_with_one_that_was_undone() {
    let site = Site::seeded(0).await;
    let tags = BTreeSet::from([Tag::Posts, Tag::Post(7), Tag::Category(1)]);
    assert!(versions(site.state.db.read(), &tags).await.unwrap().is_empty(), "never raised");
    for (raised, lasts) in [
        (BTreeSet::from([Tag::Posts, Tag::Post(7)]), true),
        (BTreeSet::from([Tag::Posts]), true),
        (tags.clone(), false),
        (BTreeSet::new(), true),
    ] {
        let mut writer = site.state.db.write().await.unwrap();
        bump(&mut writer, &raised).await.unwrap();
        if lasts {
            writer.commit().await.unwrap();
        }
    }
    let now = versions(site.state.db.read(), &tags).await.unwrap();
    assert_eq!((now.get("posts"), now.get("post:7"), now.get("category:1")), (Some(&2), Some(&1), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_raise_the_same_numbers_wait_for_each_other_and_lose_none() {
    let site = Site::seeded(0).await;
    let writes = (0..20).map(|_| {
        let db = site.state.db.clone();
        tokio::spawn(async move {
            let mut writer = db.write().await.unwrap();
            bump(&mut writer, &BTreeSet::from([Tag::Author(3), Tag::Posts, Tag::Post(1)])).await.unwrap();
            writer.commit().await.unwrap();
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let tags = BTreeSet::from([Tag::Posts]);
    assert_eq!(versions(site.state.db.read(), &tags).await.unwrap()["posts"], 20);
}

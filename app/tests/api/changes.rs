//! What a write makes stale, as whoever keeps answers sees it.

use std::collections::BTreeSet;

use cirque_app::changes::{Raised, Tag, bump, latest, since};

use crate::site::Site;

async fn raise(site: &Site, tags: &[Tag], lasts: bool) {
    let mut writer = site.state.db.write().await.unwrap();
    bump(&mut writer, &tags.iter().copied().collect()).await.unwrap();
    if lasts {
        writer.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_number_grows_with_each_write_and_not_with_one_that_was_undone() {
    let site = Site::seeded(0).await;
    let db = site.state.db.read();
    let first = latest(db).await.unwrap();
    assert_eq!(since(db, first).await.unwrap(), Raised::none(first));
    raise(&site, &[Tag::Posts, Tag::Post(7)], true).await;
    raise(&site, &[Tag::Posts], true).await;
    raise(&site, &[Tag::Posts, Tag::Category(1)], false).await;
    raise(&site, &[], true).await;
    let mut raised = since(db, first).await.unwrap();
    raised.tags.sort();
    let tag = |tag: &str, number| (tag.to_owned(), first + number);
    assert_eq!(raised.tags, [tag("*", 2), tag("post:7", 1), tag("posts", 2)]);
    assert_eq!((raised.up_to, raised.is_partial), (first + 2, false));
    assert_eq!(since(db, first + 1).await.unwrap().tags.len(), 2);
}

#[tokio::test]
async fn too_many_tags_are_not_named() {
    let site = Site::seeded(0).await;
    let db = site.state.db.read();
    let first = latest(db).await.unwrap();
    let many: Vec<Tag> = (0..1000).map(Tag::Post).collect();
    raise(&site, &many, true).await;
    assert_eq!(since(db, first).await.unwrap(), Raised { is_partial: true, ..Raised::none(first + 1) });
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_raise_the_same_numbers_wait_for_each_other_and_lose_none() {
    let site = Site::seeded(0).await;
    let first = latest(site.state.db.read()).await.unwrap();
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
    assert_eq!(latest(site.state.db.read()).await.unwrap(), first + 20);
}

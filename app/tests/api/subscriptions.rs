//! Subscribing by mail, and hearing of new posts, over a real mail server.

use axum::body::Body;
use cirque_app::config::Rate;
use cirque_tests::mailbox::Mailbox;
use http::Request;
use serde_json::json;

use crate::listeners::{Working, of_kind, publish};
use crate::queue::{all_over, until};
use crate::site::{Answer, Data, Site};

const PATH: &str = "/api/v2/subscriptions";
const SITE: &str = "https://api.example.com";

async fn site(mailbox: &Mailbox) -> Site {
    let mut data = Data::seeded(3).await;
    data.config.server.public_url = SITE.to_owned();
    data.config = data.config.with_mail(&mailbox.url()).unwrap();
    data.open().await
}

async fn subscribe(site: &Site, email: &str) -> Answer {
    site.call("POST", PATH, None, &json!({ "email": email })).await
}

/// A mail as its reader sees it: long lines were folded with `=` at their end.
fn read(mail: &str) -> String {
    mail.replace("\r\n", "\n").replace("=\n", "").replace("=3D", "=").replace("\n ", " ")
}

/// The path and the query of the first link to `place` in a mail.
fn link(mail: &str, place: &str) -> String {
    let text = read(mail);
    let start =
        text.find(&format!("{SITE}{PATH}/{place}?token=")).unwrap_or_else(|| panic!("{place}: {text}"));
    let end = |c: char| c.is_whitespace() || matches!(c, '>' | '"');
    text[start + SITE.len()..].split(end).next().unwrap().to_owned()
}

async fn status_of(site: &Site) -> String {
    site.data.column::<String>("SELECT status FROM subscribers").await.remove(0)
}

/// Makes subscribers who have confirmed.
async fn confirmed(site: &Site, emails: &[String]) {
    let rows: Vec<String> = emails.iter().map(|email| format!("('{email}', 'confirmed', 0, 0)")).collect();
    let rows = rows.join(",");
    site.data
        .change(&format!("INSERT INTO subscribers (email, status, requested_at, created_at) VALUES {rows}"))
        .await;
}

fn message_ids(mails: &[String]) -> Vec<String> {
    let id = |mail: &String| {
        let line = mail.lines().find(|line| line.to_lowercase().starts_with("message-id:"));
        line.unwrap_or_else(|| panic!("{mail}")).trim().to_owned()
    };
    let mut ids: Vec<String> = mails.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

// key: mail.smtp, mail.from
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_asked_back_by_mail_and_leaves_by_one_click() {
    let mailbox = Mailbox::start();
    let site = site(&mailbox).await;
    let working = Working::of(&site);
    let answer = subscribe(&site, "Reader@Example.com").await;
    assert_eq!(
        (answer.status.as_u16(), status_of(&site).await.as_str()),
        (202, "pending"),
        "{}",
        answer.body
    );
    all_over(&site).await;
    let mails = mailbox.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    let mail = &mails[0];
    for header in [
        "To: reader@example.com",
        "From: cirque <noreply@example.com>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Content-Type: text/plain",
        "Content-Type: text/html",
    ] {
        assert!(mail.contains(header), "{header}: {mail}");
    }
    let confirm = link(mail, "confirm");
    for _ in 0..2 {
        assert_eq!(site.get(&confirm).await.body, r#"{"message":"You are subscribed."}"#);
        assert_eq!(status_of(&site).await, "confirmed");
    }
    // Whoever is subscribed already gets no second mail, and nobody else can tell.
    assert_eq!(subscribe(&site, "reader@example.com").await.body, answer.body);
    all_over(&site).await;
    assert_eq!(mailbox.mails().len(), 1);
    // Looking at the link changes nothing, one POST does.
    let unsubscribe = link(mail, "unsubscribe");
    assert_eq!(site.get(&unsubscribe).await.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(status_of(&site).await, "confirmed");
    let click = Request::post(&unsubscribe).header("content-type", "application/x-www-form-urlencoded");
    let gone = site.send(click.body(Body::from("List-Unsubscribe=One-Click")).unwrap()).await;
    assert_eq!((gone.status.as_u16(), status_of(&site).await.as_str()), (200, "unsubscribed"));
    assert_eq!(site.get(&confirm).await.status.as_u16(), 404, "the old link does not bring it back");
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_waits_for_its_server_and_no_request_waits_for_it() {
    let mut mailbox = Mailbox::start();
    let site = site(&mailbox).await;
    mailbox.stop();
    let working = Working::of(&site);
    assert_eq!(subscribe(&site, "reader@example.com").await.status.as_u16(), 202);
    let jobs = until(&site, "it failed", |jobs| jobs.iter().any(|job| job.failures == 1)).await;
    assert_eq!((jobs[0].state.as_str(), jobs[0].reason.as_deref()), ("waiting", Some("failed")));
    mailbox.restart();
    site.state.clock.put_forward(std::time::Duration::from_secs(11));
    site.state.bell.ring();
    assert_eq!(all_over(&site).await[0].state, "done");
    assert_eq!(mailbox.mails().len(), 1);
    working.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscriber_hears_of_a_post_once() {
    let mailbox = Mailbox::start();
    let site = site(&mailbox).await;
    let readers: Vec<String> = (0..30).map(|reader| format!("reader{reader}@example.com")).collect();
    confirmed(&site, &readers).await;
    site.data
        .change("INSERT INTO subscribers (email, status, requested_at, created_at) VALUES ('other@example.com', 'pending', 0, 0), ('gone@example.com', 'unsubscribed', 0, 0)")
        .await;
    let token = site.data.full_token("chiyo").await;
    let post = publish(&site, &token, "Granite & <ice>").await;
    let working = Working::of(&site);
    let jobs = all_over(&site).await;
    assert_eq!(of_kind(&jobs, "mail_subscriber").len(), 30, "{jobs:#?}");
    let mails = mailbox.mails();
    let mut ids = message_ids(&mails);
    ids.dedup();
    assert_eq!((mails.len(), ids.len()), (30, 30));
    let mail = read(&mails[0]);
    assert!(mail.contains("Subject: Granite & <ice>"), "{mail}");
    assert!(mail.contains("<h1>Granite &amp; &lt;ice&gt;</h1>"), "{mail}");
    assert!(mail.contains(&format!("{SITE}/api/v2/posts/granite-ice")), "{mail}");
    assert!(ids[0].contains(&format!("<post.{}.", post["id"])), "{ids:?}");
    // Taken back and published again, it is no news.
    let path = format!("/api/v1/posts/{}", post["id"]);
    for status in ["draft", "published"] {
        let answer = site.call("PATCH", &path, Some(&token), &json!({ "status": status })).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    }
    all_over(&site).await;
    assert_eq!(mailbox.mails().len(), 30);
    // The links in it end it.
    let click = Request::post(link(&mails[0], "unsubscribe")).body(Body::empty()).unwrap();
    assert_eq!(site.send(click).await.status.as_u16(), 200);
    publish(&site, &token, "Ice again").await;
    all_over(&site).await;
    assert_eq!(mailbox.mails().len(), 59);
    working.end().await;
}

// key: mail.per_domain
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_gets_so_many_mails_and_another_does_not_wait_for_it() {
    let mailbox = Mailbox::start();
    let mut data = Data::seeded(3).await;
    data.config.server.public_url = SITE.to_owned();
    data.config = data.config.with_mail(&mailbox.url()).unwrap();
    data.config.mail.per_domain = Some(Rate { count: 5, period: std::time::Duration::from_secs(3600) });
    let site = data.open().await;
    let mut readers: Vec<String> = (0..8).map(|reader| format!("reader{reader}@example.com")).collect();
    readers.extend((0..3).map(|reader| format!("reader{reader}@example.org")));
    confirmed(&site, &readers).await;
    let token = site.data.full_token("chiyo").await;
    publish(&site, &token, "News").await;
    let working = Working::of(&site);
    let is_done = |job: &cirque_app::queue::steer::Shown| {
        job.state == "done" || job.reason.as_deref() == Some("put_off")
    };
    let jobs = until(&site, "each was sent or put off", |jobs| {
        let mails = of_kind(jobs, "mail_subscriber");
        mails.len() == 11 && mails.iter().all(|job| is_done(job))
    })
    .await;
    let mails = of_kind(&jobs, "mail_subscriber");
    assert_eq!(mails.iter().filter(|job| job.state == "done").count(), 8);
    let mut slots: Vec<i64> = mails.iter().filter_map(|job| job.payload["slot"].as_i64()).collect();
    slots.sort_unstable();
    // Twelve minutes apart, each at a moment of its own.
    assert_eq!(slots.len(), 3);
    assert!(slots.windows(2).all(|pair| (pair[1] - pair[0] - 720_000).abs() < 100), "{slots:?}");
    assert_eq!(mailbox.mails().len(), 8);
    for left in [9, 10, 11] {
        site.state.clock.put_forward(std::time::Duration::from_secs(720));
        site.state.bell.ring();
        until(&site, "the next one left", |jobs| {
            of_kind(jobs, "mail_subscriber").iter().filter(|job| job.state == "done").count() >= left
        })
        .await;
    }
    assert_eq!(mailbox.mails().len(), 11);
    working.end().await;
}

#[tokio::test]
async fn what_is_no_address_or_no_link_is_said_so() {
    let site = Site::seeded(3).await;
    for email in ["reader", "a@b@c", "reader@", "@example.com", "a b@example.com", "x\r\nBcc: y@example.com"]
    {
        let answer = subscribe(&site, email).await;
        assert_eq!(answer.status.as_u16(), 422, "{email:?}: {}", answer.body);
    }
    let without = subscribe(&site, "reader@example.com").await;
    let told = (without.status.as_u16(), without.body.as_str());
    assert_eq!(told, (503, r#"{"message":"This site sends no mail."}"#));
    for token in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        for place in ["confirm", "unsubscribe"] {
            let answer = site.get(&format!("{PATH}/{place}?token={token}")).await;
            assert_eq!(answer.status.as_u16() / 100, 4, "{place} {token}");
        }
    }
}

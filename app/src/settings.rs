//! Decides which secrets the nodes of one database share; they are made once and never shown.

use sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement};

use crate::db::{Db, Error};

/// Signs cursors. Changing it makes every cursor in clients' hands invalid.
pub const CURSOR_KEY: &str = "cursor_key";

/// Lets nodes ask each other for alerts.
pub const NODES_KEY: &str = "nodes_key";
/// Signs links in mails. Changing it makes every link in mailboxes invalid.
pub const MAIL_KEY: &str = "mail_key";

/// Every secret there is.
const SECRETS: &[&str] = &[CURSOR_KEY, NODES_KEY, MAIL_KEY];

const SECRET_BYTES: usize = 32;

/// Makes the secrets that are not there yet. Nodes that do this at once end with the same ones.
///
/// # Errors
///
/// Those of the database.
pub async fn make_secrets(db: &Db) -> Result<(), Error> {
    let mut writer = db.write().await?;
    for name in SECRETS {
        let mut secret = vec![0; SECRET_BYTES];
        getrandom::fill(&mut secret).expect("the system has a source of randomness");
        let insert = Query::insert()
            .into_table("settings")
            .columns(["name", "value"])
            .values_panic([Expr::val(*name), Expr::val(secret)])
            .on_conflict(OnConflict::column("name").do_nothing().to_owned())
            .take();
        writer.execute(&insert).await?;
    }
    writer.commit().await
}

/// The secret of this name.
///
/// # Errors
///
/// Those of the database; one that was never made is [`Error::Statement`].
pub async fn secret(db: &Db, name: &str) -> Result<Vec<u8>, Error> {
    let row = db.read_latest().first(&select(name)).await?;
    let row = row.ok_or(Error::Statement(sqlx::Error::RowNotFound))?;
    row.cells().take()
}

fn select(name: &str) -> SelectStatement {
    Query::select().column("value").from("settings").and_where(Expr::col("name").eq(name)).take()
}

/// Asks the database for something small that is really in it.
///
/// # Errors
///
/// Those of the database.
pub async fn probe(db: &Db) -> Result<(), Error> {
    let any = Query::select().column("name").from("settings").limit(1).take();
    db.read_latest().first(&any).await.map(drop)
}

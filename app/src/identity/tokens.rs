//! Decides what a token is: 256 random bits that only its holder has; we keep their hash, an end and what it is for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_query::{Expr, ExprTrait, Order, Query};
use sha2::{Digest as _, Sha256};

use super::{Abilities, Identity, Role};
use crate::db::{Error, Reader, Row, Writer};
use crate::moment::Moment;

const TABLE: &str = "tokens";

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "cirque_";
const BYTES: usize = 32;

/// Tokens of one account at once; the oldest goes when one more is made.
pub const MOST: u64 = 100;

/// A new token and what is kept of it.
#[derive(Debug)]
pub struct Made {
    /// What its holder sends; shown once.
    pub text: String,
    /// What is kept.
    pub hash: Vec<u8>,
}

/// Makes a token.
pub fn make() -> Made {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret).expect("the system has a source of randomness");
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    Made { text, hash: Sha256::digest(secret).to_vec() }
}

/// What is kept of a token; `None` for what is none. With 256 random bits one round is enough.
pub fn hash(text: &str) -> Option<Vec<u8>> {
    let secret = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    (secret.len() == BYTES).then(|| Sha256::digest(secret).to_vec())
}

/// A token as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: i64,
    /// Whose it is.
    pub username: String,
    /// What it was called.
    pub name: String,
    /// What it is for.
    pub abilities: Abilities,
    /// When it was made.
    pub created_at: Moment,
    /// When it ends.
    pub expires_at: Moment,
    /// When it was revoked.
    pub revoked_at: Option<Moment>,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct New<'t> {
    /// Whose it is.
    pub author: i64,
    /// What it is called.
    pub name: &'t str,
    /// What it is for.
    pub abilities: &'t Abilities,
    /// When it ends.
    pub expires_at: Moment,
}

/// Keeps a new token and hands it out; those of the account that have ended are cleared away.
///
/// # Errors
///
/// Those of the database.
pub async fn create(writer: &mut Writer<'_>, new: New<'_>, now: Moment) -> Result<String, Error> {
    let over = Query::delete()
        .from_table(TABLE)
        .and_where(Expr::col("author_id").eq(new.author))
        .and_where(Expr::col("expires_at").lte(now.0).or(Expr::col("revoked_at").is_not_null()))
        .take();
    writer.execute(&over).await?;
    let oldest = Query::select()
        .column("id")
        .from(TABLE)
        .and_where(Expr::col("author_id").eq(new.author))
        .order_by("created_at", Order::Desc)
        .order_by("id", Order::Desc)
        .limit(MOST)
        .offset(MOST - 1)
        .take();
    let too_many = Query::delete().from_table(TABLE).and_where(Expr::col("id").in_subquery(oldest)).take();
    writer.execute(&too_many).await?;
    let made = make();
    let insert = Query::insert()
        .into_table(TABLE)
        .columns(["author_id", "name", "hash", "abilities", "created_at", "expires_at"])
        .values_panic([
            new.author.into(),
            new.name.into(),
            made.hash.into(),
            new.abilities.words().join(" ").into(),
            now.0.into(),
            new.expires_at.0.into(),
        ])
        .take();
    writer.execute(&insert).await?;
    Ok(made.text)
}

/// Whoever holds the token with this hash, if it is good at `now`.
///
/// # Errors
///
/// Those of the database.
pub async fn find(db: Reader<'_>, hash: &[u8], now: Moment) -> Result<Option<Identity>, Error> {
    let select = Query::select()
        .columns([(TABLE, "id"), (TABLE, "author_id"), (TABLE, "abilities"), ("accounts", "role")])
        .from(TABLE)
        .inner_join("accounts", Expr::col(("accounts", "author_id")).equals((TABLE, "author_id")))
        .and_where(Expr::col((TABLE, "hash")).eq(hash))
        .and_where(Expr::col((TABLE, "revoked_at")).is_null())
        .and_where(Expr::col((TABLE, "expires_at")).gt(now.0))
        .and_where(Expr::col(("accounts", "is_active")).eq(true))
        .take();
    let Some(row) = db.first(&select).await? else { return Ok(None) };
    let mut cells = row.cells();
    let (token, author) = (cells.take()?, cells.take()?);
    let abilities = Abilities::read(&cells.take::<String>()?);
    let role = Role::parse(&cells.take::<String>()?);
    Ok(role.map(|role| Identity { author, token, role, abilities }))
}

/// Ends the token with this id; says whether there was one that was still good.
///
/// # Errors
///
/// Those of the database.
pub async fn revoke(writer: &mut Writer<'_>, id: i64, now: Moment) -> Result<bool, Error> {
    let update = Query::update()
        .table(TABLE)
        .value("revoked_at", now.0)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("revoked_at").is_null())
        .take();
    Ok(writer.execute(&update).await? > 0)
}

/// Ends all tokens of an account.
///
/// # Errors
///
/// Those of the database.
pub async fn revoke_all(writer: &mut Writer<'_>, author: i64, now: Moment) -> Result<u64, Error> {
    let update = Query::update()
        .table(TABLE)
        .value("revoked_at", now.0)
        .and_where(Expr::col("author_id").eq(author))
        .and_where(Expr::col("revoked_at").is_null())
        .take();
    writer.execute(&update).await
}

/// Every token that was not cleared away yet, newest first.
///
/// # Errors
///
/// Those of the database.
pub async fn list(db: Reader<'_>, username: Option<&str>) -> Result<Vec<Token>, Error> {
    const COLUMNS: [&str; 6] = ["id", "name", "abilities", "created_at", "expires_at", "revoked_at"];
    let mut select = Query::select();
    select
        .columns(COLUMNS.map(|column| (TABLE, column)))
        .column(("authors", "username"))
        .from(TABLE)
        .inner_join("authors", Expr::col(("authors", "id")).equals((TABLE, "author_id")))
        .order_by((TABLE, "id"), Order::Desc)
        .limit(10_000);
    if let Some(username) = username {
        select.and_where(Expr::col(("authors", "username")).eq(username));
    }
    db.all(&select).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Token, Error> {
    let mut cells = row.cells();
    Ok(Token {
        id: cells.take()?,
        name: cells.take()?,
        abilities: Abilities::read(&cells.take::<String>()?),
        created_at: Moment(cells.take()?),
        expires_at: Moment(cells.take()?),
        revoked_at: cells.take::<Option<i64>>()?.map(Moment),
        username: cells.take()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let made = make();
        assert_eq!(hash(&made.text).as_ref(), Some(&made.hash));
        assert_eq!((made.text.len(), made.hash.len()), (50, 32));
        assert_ne!(make().text, made.text);
        for other in ["", "cirque_", "cirque_AAAA", &made.text[7..], &format!("{}A", made.text)] {
            assert_eq!(hash(other), None, "{other}");
        }
    }
}

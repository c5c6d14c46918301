//! Decides how accounts are found, made and changed.

use std::collections::BTreeSet;

use sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};

use super::Role;
use crate::changes::{self, Tag};
use crate::db::{Error, Reader, Row, Writer};
use crate::moment::Moment;

const TABLE: &str = "accounts";
const AUTHORS: &str = "authors";

/// An account with its public face, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id as an author.
    pub id: i64,
    /// The full name.
    pub name: String,
    /// The name in addresses.
    pub username: String,
    /// What is signed in with.
    pub email: String,
    /// Address of a picture.
    pub avatar: Option<String>,
    /// A few words.
    pub bio: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may do anything at all.
    pub is_active: bool,
    /// When it last signed in.
    pub last_login_at: Option<Moment>,
    /// When it was made.
    pub created_at: Moment,
    /// When it was last changed.
    pub updated_at: Moment,
}

/// By what an account is found.
#[derive(Clone, Copy, Debug)]
pub enum By<'t> {
    /// Its id as an author.
    Id(i64),
    /// Its e-mail address, in lower case.
    Email(&'t str),
    /// Its name in addresses.
    Username(&'t str),
}

/// What a new account is to be.
#[derive(Clone, Debug)]
pub struct New<'t> {
    /// The full name.
    pub name: &'t str,
    /// The name in addresses.
    pub username: &'t str,
    /// What is signed in with, in lower case.
    pub email: &'t str,
    /// What it may do.
    pub role: Role,
    /// What is kept of its password.
    pub password_hash: Option<&'t str>,
}

/// The account and what is kept of its password.
///
/// # Errors
///
/// Those of the database.
pub async fn find(db: Reader<'_>, by: By<'_>) -> Result<Option<(Account, Option<String>)>, Error> {
    let mut select = selected();
    match by {
        By::Id(id) => select.and_where(Expr::col((AUTHORS, "id")).eq(id)),
        By::Email(email) => select.and_where(Expr::col((AUTHORS, "email")).eq(email)),
        By::Username(username) => select.and_where(Expr::col((AUTHORS, "username")).eq(username)),
    };
    db.first(&select).await?.as_ref().map(read).transpose()
}

/// Every account, by id.
///
/// # Errors
///
/// Those of the database.
pub async fn list(db: Reader<'_>) -> Result<Vec<Account>, Error> {
    let mut select = selected();
    select.order_by((AUTHORS, "id"), Order::Asc).limit(10_000);
    db.all(&select).await?.iter().map(|row| read(row).map(|(account, _)| account)).collect()
}

fn selected() -> SelectStatement {
    let of_author = ["id", "name", "username", "email", "avatar", "bio"].map(|column| (AUTHORS, column));
    let of_account = ["role", "is_active", "last_login_at", "created_at", "updated_at", "password_hash"];
    Query::select()
        .columns(of_author)
        .columns(of_account.map(|column| (TABLE, column)))
        .from(TABLE)
        .inner_join(AUTHORS, Expr::col((AUTHORS, "id")).equals((TABLE, "author_id")))
        .take()
}

fn read(row: &Row) -> Result<(Account, Option<String>), Error> {
    let mut cells = row.cells();
    let account = Account {
        id: cells.take()?,
        name: cells.take()?,
        username: cells.take()?,
        email: cells.take()?,
        avatar: cells.take()?,
        bio: cells.take()?,
        // The schema knows no other words; a newer one's would be the least of ours.
        role: Role::parse(&cells.take::<String>()?).unwrap_or(Role::Author),
        is_active: cells.take()?,
        last_login_at: cells.take::<Option<i64>>()?.map(Moment),
        created_at: Moment(cells.take()?),
        updated_at: Moment(cells.take()?),
    };
    Ok((account, cells.take()?))
}

/// Makes an account, with an author unless there is one of this name and address without an account.
///
/// # Errors
///
/// [`Error::Refused`] when the name or the address is taken; those of the database.
pub async fn create(writer: &mut Writer<'_>, new: &New<'_>, now: Moment) -> Result<i64, Error> {
    let existing = Query::select()
        .column("id")
        .from(AUTHORS)
        .and_where(Expr::col("username").eq(new.username))
        .and_where(Expr::col("email").eq(new.email))
        .take();
    let id = match writer.first(&existing).await? {
        Some(row) => row.cells().take()?,
        None => author(writer, new, now).await?,
    };
    let insert = Query::insert()
        .into_table(TABLE)
        .columns(["author_id", "role", "password_hash", "created_at", "updated_at"])
        .values_panic([
            id.into(),
            new.role.word().into(),
            new.password_hash.map(str::to_owned).into(),
            now.0.into(),
            now.0.into(),
        ])
        .take();
    writer.execute(&insert).await?;
    changes::bump(writer, &BTreeSet::from([Tag::Authors])).await?;
    Ok(id)
}

async fn author(writer: &mut Writer<'_>, new: &New<'_>, now: Moment) -> Result<i64, Error> {
    let insert = Query::insert()
        .into_table(AUTHORS)
        .columns(["name", "username", "email", "created_at", "updated_at"])
        .values_panic([new.name.into(), new.username.into(), new.email.into(), now.0.into(), now.0.into()])
        .returning_col("id")
        .take();
    let row = writer.returning(&insert).await?.ok_or(Error::Statement(sqlx::Error::RowNotFound))?;
    row.cells().take()
}

/// One change of an account.
#[derive(Clone, Copy, Debug)]
pub enum Change<'t> {
    /// Another password.
    PasswordHash(&'t str),
    /// Whether it may do anything.
    IsActive(bool),
    /// Another role.
    Role(Role),
    /// It signed in.
    LoggedIn,
}

/// Changes one thing of an account; says whether there is such an account.
///
/// # Errors
///
/// Those of the database.
pub async fn change(
    writer: &mut Writer<'_>,
    id: i64,
    change: Change<'_>,
    now: Moment,
) -> Result<bool, Error> {
    let mut update = Query::update();
    update.table(TABLE).and_where(Expr::col("author_id").eq(id));
    match change {
        Change::PasswordHash(hash) => update.value("password_hash", hash).value("updated_at", now.0),
        Change::IsActive(is_active) => update.value("is_active", is_active).value("updated_at", now.0),
        Change::Role(role) => update.value("role", role.word()).value("updated_at", now.0),
        Change::LoggedIn => update.value("last_login_at", now.0),
    };
    Ok(writer.execute(&update).await? > 0)
}

//! Decides which statements read categories, tags and authors.

use std::collections::HashMap;

use sea_query::{Cond, Expr, ExprTrait, Func, Order, Query, SelectStatement};

use super::{Holds, Kind, Sort};
use crate::db::{Dialect, Error, Reader, dialect};
use crate::fields::Fields;
use crate::page::cursor::{FilterHash, Place, Rank};
use crate::page::keyset::{self, Page};
use crate::page::{Direction, Offset};
use crate::query::Params;

/// The most rows below the rows of one page.
const CHILDREN: u64 = 1000;

/// Which of them a list is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A part of the name.
    pub search: Option<String>,
    /// Only those that are below no other.
    pub only_root: bool,
    /// Only those that are in use, or only those that are not.
    pub is_active: Option<bool>,
    /// Only those that are featured, or only those that are not.
    pub is_featured: Option<bool>,
}

impl Filter {
    /// What the parameters say.
    pub fn from_params(params: &Params) -> Self {
        Self {
            search: params.text("search").map(str::to_owned),
            only_root: params.flag("only_root").unwrap_or(false),
            is_active: params.flag("is_active"),
            is_featured: params.flag("is_featured"),
        }
    }

    /// Stands for this filter on `K` in cursors.
    pub fn hash<K: Kind>(&self) -> FilterHash {
        let flag = |is: Option<bool>| is.map_or("", |is| if is { "1" } else { "0" });
        FilterHash::of([
            ("list", K::TABLE),
            ("search", self.search.as_deref().unwrap_or_default()),
            ("only_root", if self.only_root { "1" } else { "" }),
            ("is_active", flag(self.is_active)),
            ("is_featured", flag(self.is_featured)),
        ])
    }

    fn apply<K: Kind>(&self, select: &mut SelectStatement, dialect: Dialect) {
        if let Some(search) = &self.search {
            let anywhere = K::SEARCHED.iter().map(|column| dialect.contains(column, search));
            select.cond_where(anywhere.fold(Cond::any(), Cond::add));
        }
        if self.only_root {
            select.and_where(Expr::col("parent_id").is_null());
        }
        for (column, wanted) in [("is_active", self.is_active), ("is_featured", self.is_featured)] {
            if let Some(wanted) = wanted {
                select.and_where(Expr::col(column).eq(wanted));
            }
        }
    }
}

/// One list, as a client asked for it.
#[derive(Clone, Debug)]
pub struct List {
    /// Which of them.
    pub filter: Filter,
    /// What it is sorted by.
    pub sort: Sort,
    /// Which end comes first.
    pub direction: Direction,
    /// What is read of each.
    pub fields: Fields,
}

/// The page `offset` in the usual order, and the number of rows in the whole list.
///
/// # Errors
///
/// Those of the database.
pub async fn page<K: Kind>(db: Reader<'_>, filter: &Filter, offset: Offset) -> Result<(Vec<K>, u64), Error> {
    let mut count = Query::select();
    count.expr(Func::count(Expr::col("id"))).from(K::TABLE);
    filter.apply::<K>(&mut count, db.dialect());
    let total = match db.first(&count).await? {
        Some(row) => row.cells().take::<i64>()?.unsigned_abs(),
        None => 0,
    };
    if offset.skipped() >= total {
        return Ok((Vec::new(), total));
    }
    let fields = Fields::all::<K>();
    let select = page_statement::<K>(filter, offset, db.dialect());
    let rows = db.all(&select).await?;
    let entries: Result<Vec<K>, Error> = rows
        .iter()
        .map(|row| {
            let mut cells = row.cells();
            K::read(cells.take()?, fields, &mut cells)
        })
        .collect();
    Ok((entries?, total))
}

fn page_statement<K: Kind>(filter: &Filter, offset: Offset, dialect: Dialect) -> SelectStatement {
    let mut select = selected::<K>(Fields::all::<K>());
    filter.apply::<K>(&mut select, dialect);
    // As in the original: by place, then by name.
    for sort in K::SORTS.iter().take_while(|sort| sort.word != "created_at") {
        select.order_by(sort.word, Order::Asc);
    }
    select.order_by("id", Order::Asc).limit(offset.size).offset(offset.skipped());
    select
}

/// The page of `limit` rows at `from`, or the first one.
///
/// # Errors
///
/// Those of the database.
pub async fn keyset_page<K: Kind>(
    db: Reader<'_>,
    list: &List,
    limit: u64,
    from: Option<&Place>,
) -> Result<Page<K>, Error> {
    let rows = db.all(&keyset_statement::<K>(list, limit, from, db.dialect())).await?;
    let ranked: Result<Vec<(K, Rank)>, Error> = rows
        .iter()
        .map(|row| {
            let mut cells = row.cells();
            let entry = K::read(cells.take()?, list.fields, &mut cells)?;
            let rank = match list.sort.holds {
                Holds::Numbers => Rank::Number(cells.take()?),
                Holds::Texts => Rank::Text(cells.take()?),
            };
            Ok((entry, rank))
        })
        .collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page =
        keyset::assemble(ranked?, limit, list.direction, from, 0, |(entry, rank)| (rank.clone(), entry.id()));
    let rows = page.rows.into_iter().map(|(entry, _)| entry).collect();
    Ok(Page { rows, next: page.next, previous: page.previous })
}

fn keyset_statement<K: Kind>(
    list: &List,
    limit: u64,
    from: Option<&Place>,
    dialect: Dialect,
) -> SelectStatement {
    let reading = match keyset::reading_direction(list.direction, from) {
        Direction::Ascending => Order::Asc,
        Direction::Descending => Order::Desc,
    };
    let mut select = selected::<K>(list.fields);
    select.column(list.sort.word);
    if let Some(place) = from {
        let columns = [list.sort.word, "id"];
        select.and_where(dialect::behind(columns, place.rank.clone(), place.id, &reading));
    }
    list.filter.apply::<K>(&mut select, dialect);
    select.order_by(list.sort.word, reading.clone()).order_by("id", reading).limit(limit + 1);
    select
}

/// The one with this name in addresses.
///
/// # Errors
///
/// Those of the database.
pub async fn by_name<K: Kind>(db: Reader<'_>, name: &str, fields: Fields) -> Result<Option<K>, Error> {
    let mut select = selected::<K>(fields);
    select.and_where(Expr::col(K::FIELDS[K::NAME]).eq(name));
    let Some(row) = db.first(&select).await? else { return Ok(None) };
    let mut cells = row.cells();
    K::read(cells.take()?, fields, &mut cells).map(Some)
}

/// The id of the one with this name in addresses.
///
/// # Errors
///
/// Those of the database.
pub async fn id_of<K: Kind>(db: Reader<'_>, name: &str) -> Result<Option<i64>, Error> {
    Ok(by_name::<K>(db, name, Fields::default()).await?.map(|entry| entry.id()))
}

/// Those above and below some rows.
#[derive(Debug)]
pub struct Family<K> {
    parents: HashMap<i64, K>,
    children: HashMap<i64, Vec<K>>,
}

impl<K: Kind> Family<K> {
    /// None.
    pub fn none() -> Self {
        Self { parents: HashMap::new(), children: HashMap::new() }
    }

    /// Reads what is wanted of them, with one statement for those above and one for those below.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn load(
        db: Reader<'_>,
        entries: &[K],
        parent: Option<Fields>,
        children: Option<Fields>,
    ) -> Result<Self, Error> {
        let mut family = Self::none();
        let Some(position) = K::PARENT else { return Ok(family) };
        let parents: Vec<i64> = entries.iter().filter_map(Kind::parent_id).collect();
        if let Some(fields) = parent.filter(|_| !parents.is_empty()) {
            let mut select = selected::<K>(fields);
            select.and_where(Expr::col("id").is_in(parents));
            for row in db.all(&select).await? {
                let mut cells = row.cells();
                let id = cells.take()?;
                family.parents.insert(id, K::read(id, fields, &mut cells)?);
            }
        }
        if let Some(fields) = children.filter(|_| !entries.is_empty()) {
            let above = K::FIELDS[position];
            let mut select = selected::<K>(fields);
            select
                .column(above)
                .and_where(Expr::col(above).is_in(entries.iter().map(Kind::id)))
                .order_by(K::SORTS[0].word, Order::Asc)
                .order_by("id", Order::Asc)
                .limit(CHILDREN);
            for row in db.all(&select).await? {
                let mut cells = row.cells();
                let child = K::read(cells.take()?, fields, &mut cells)?;
                family.children.entry(cells.take()?).or_default().push(child);
            }
        }
        Ok(family)
    }

    /// The one above.
    pub fn parent(&self, entry: &K) -> Option<&K> {
        self.parents.get(&entry.parent_id()?)
    }

    /// Those below, in their usual order.
    pub fn children(&self, entry: &K) -> &[K] {
        self.children.get(&entry.id()).map_or(&[], Vec::as_slice)
    }
}

/// The id, and those of the other fields that are wanted.
fn selected<K: Kind>(fields: Fields) -> SelectStatement {
    let mut select = Query::select();
    select.column("id").from(K::TABLE);
    for field in fields.iter().filter(|field| *field != 0) {
        select.expr(K::column(field));
    }
    select
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categories::Category;
    use crate::page::cursor::Way;
    use crate::tags::Tag;
    use sea_query::SqliteQueryBuilder;

    #[test]
    fn a_page_by_name_continues_behind_a_name() {
        let list = List {
            filter: Filter { search: Some("a_".to_owned()), ..Filter::default() },
            sort: Tag::SORTS[0],
            direction: Direction::Ascending,
            fields: Fields::default().with(1),
        };
        let place = Place { way: Way::After, rank: Rank::Text("maps".to_owned()), id: 9, edition: 0 };
        assert_eq!(
            keyset_statement::<Tag>(&list, 5, Some(&place), Dialect::Sqlite).to_string(SqliteQueryBuilder),
            "SELECT \"id\", \"tags\".\"name\", \"name\" FROM \"tags\" WHERE (\"name\", \"id\") > ('maps', 9) \
             AND (\"name\" LIKE '%a\\_%' ESCAPE '\\' OR \"slug\" LIKE '%a\\_%' ESCAPE '\\') \
             ORDER BY \"name\" ASC, \"id\" ASC LIMIT 6"
        );
    }

    #[test]
    fn filters_of_different_lists_are_different() {
        let filter = Filter::default();
        assert_ne!(filter.hash::<Tag>(), filter.hash::<Category>());
    }

    /// Every list of `K` in every order, by both ways: the statement, and the index that it goes through.
    fn lists<K: Kind>(dialect: Dialect) -> Vec<(SelectStatement, String)> {
        let mut lists = Vec::new();
        for sort in K::SORTS {
            for direction in [Direction::Ascending, Direction::Descending] {
                let rank = || match sort.holds {
                    Holds::Numbers => Rank::Number(3),
                    Holds::Texts => Rank::Text("m".to_owned()),
                };
                let place = |way| Place { way, rank: rank(), id: 9, edition: 0 };
                for from in [None, Some(place(Way::After)), Some(place(Way::Before))] {
                    let list = List {
                        filter: Filter::default(),
                        sort: *sort,
                        direction,
                        fields: Fields::all::<K>(),
                    };
                    let order = match sort.word {
                        "sort_order" => "place",
                        "created_at" => "creation",
                        word => word,
                    };
                    let select = keyset_statement::<K>(&list, 20, from.as_ref(), dialect);
                    lists.push((select, format!("{}_by_{order}", K::TABLE)));
                }
            }
        }
        lists.push((
            page_statement::<K>(&Filter::default(), Offset { number: 2, size: 15 }, dialect),
            String::new(),
        ));
        lists
    }

    fn all_lists(dialect: Dialect) -> Vec<(SelectStatement, String)> {
        [lists::<Category>(dialect), lists::<Tag>(dialect), lists::<crate::authors::Author>(dialect)].concat()
    }

    #[tokio::test]
    async fn every_list_of_every_order_is_read_through_an_index_in_sqlite() {
        use sqlx::{AssertSqlSafe, Connection as _, Row as _};
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("plans.db").display());
        let config = crate::config::Config::load(None).unwrap().with_database(&url).unwrap();
        crate::migrate::run(&config).await.unwrap();
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        for (select, index) in all_lists(Dialect::Sqlite) {
            let (sql, values) = Dialect::Sqlite.build(&select);
            let rows = sqlx::query_with(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), values);
            let rows = rows.fetch_all(&mut connection).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let plan = plan.join("; ");
            assert!(
                plan.contains(&format!("INDEX {index}")) && !plan.contains("TEMP B-TREE"),
                "{sql}: {plan}"
            );
        }
    }

    #[tokio::test]
    async fn every_list_of_every_order_is_read_through_an_index_in_postgres() {
        use sqlx::{AssertSqlSafe, Connection as _, Row as _};
        let database = cirque_tests::postgres::Database::create();
        let config = crate::config::Config::load(None).unwrap().with_database(&database.url()).unwrap();
        crate::migrate::run(&config).await.unwrap();
        let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
        // So few rows are read in one go unless that is forbidden.
        sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off")
            .execute(&mut connection)
            .await
            .unwrap();
        for (select, index) in all_lists(Dialect::Postgres) {
            let (sql, values) = Dialect::Postgres.build(&select);
            let rows = sqlx::query_with(AssertSqlSafe(format!("EXPLAIN {sql}")), values);
            let rows = rows.fetch_all(&mut connection).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let plan = plan.join("; ");
            assert!(
                plan.contains(&format!("using {index}")) || plan.contains("Backward using"),
                "{sql}: {plan}"
            );
            assert!(!plan.contains("Sort"), "{sql}: {plan}");
        }
    }
}

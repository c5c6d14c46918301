//! Decides how a row is read: by position, in the order in which its columns were asked for. A cell may hold rows itself.

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::Error;

/// One row of an answer.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

impl Row {
    /// Reads the row from its first column on.
    pub fn cells(&self) -> Cells<'_> {
        Cells { of: Of::Row(self), next: 0 }
    }
}

/// A value that every database can hand out: `i64`, `String`, `bool`, `Vec<u8>`, and options of these.
pub trait Cell<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> + Told {}

impl<'r, T> Cell<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> + Told
{
}

/// A value as the databases write it in JSON.
pub trait Told: Sized {
    /// The value; `None` when it is of another type.
    fn told(value: Value) -> Option<Self>;
}

impl Told for i64 {
    fn told(value: Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Told for bool {
    /// SQLite has numbers for these.
    fn told(value: Value) -> Option<Self> {
        value.as_bool().or_else(|| value.as_i64().map(|number| number != 0))
    }
}

impl Told for String {
    fn told(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Told for Vec<u8> {
    /// Neither database has bytes in JSON.
    fn told(_: Value) -> Option<Self> {
        None
    }
}

impl<T: Told> Told for Option<T> {
    fn told(value: Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::told(value).map(Some) }
    }
}

/// Hands out the values of a row one after the other.
#[derive(Debug)]
pub struct Cells<'r> {
    of: Of<'r>,
    next: usize,
}

#[derive(Debug)]
enum Of<'r> {
    Row(&'r Row),
    /// See [`super::Dialect::row`].
    Json(std::vec::IntoIter<Value>),
}

impl<'r> Cells<'r> {
    /// The next value.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`] when there is none left or it is of another type.
    pub fn take<T: Cell<'r>>(&mut self) -> Result<T, Error> {
        let index = self.next;
        self.next += 1;
        match &mut self.of {
            Of::Row(Row::Sqlite(row)) => Ok(row.try_get(index)?),
            Of::Row(Row::Postgres(row)) => Ok(row.try_get(index)?),
            Of::Json(values) => values.next().and_then(T::told).ok_or_else(|| unreadable(index)),
        }
    }

    /// Passes over the next value, whatever it is.
    pub fn skip(&mut self) {
        self.next += 1;
        if let Of::Json(values) = &mut self.of {
            drop(values.next());
        }
    }

    /// The row in the next cell, as [`super::Dialect::row`] writes it; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`] when the cell holds something else.
    pub fn row(&mut self) -> Result<Option<Cells<'static>>, Error> {
        let index = self.next;
        let Some(text) = self.take::<Option<String>>()? else { return Ok(None) };
        let values: Vec<Value> = serde_json::from_str(&text).map_err(|_| unreadable(index))?;
        Ok(Some(Cells { of: Of::Json(values.into_iter()), next: 0 }))
    }

    /// The rows in the next cell, as [`super::Dialect::rows`] writes them.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`] when the cell holds something else.
    pub fn rows(&mut self) -> Result<Vec<Cells<'static>>, Error> {
        let index = self.next;
        let Some(text) = self.take::<Option<String>>()? else { return Ok(Vec::new()) };
        let rows: Vec<Vec<Value>> = serde_json::from_str(&text).map_err(|_| unreadable(index))?;
        Ok(rows.into_iter().map(|row| Cells { of: Of::Json(row.into_iter()), next: 0 }).collect())
    }
}

fn unreadable(index: usize) -> Error {
    Error::from(sqlx::Error::ColumnDecode {
        index: index.to_string(),
        source: "it is not the JSON that was asked for".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cells(values: Vec<Value>) -> Cells<'static> {
        Cells { of: Of::Json(values.into_iter()), next: 0 }
    }

    #[test]
    fn values_in_json_are_read_as_those_of_a_row() {
        let mut cells = cells(vec![json!(7), json!("a"), json!(true), json!(0), json!(null), json!("b")]);
        assert_eq!(cells.take::<i64>().unwrap(), 7);
        assert_eq!(cells.take::<String>().unwrap(), "a");
        assert!(cells.take::<bool>().unwrap());
        assert!(!cells.take::<bool>().unwrap());
        assert_eq!(cells.take::<Option<i64>>().unwrap(), None);
        assert_eq!(cells.take::<Option<String>>().unwrap(), Some("b".to_owned()));
    }

    #[test]
    fn a_value_that_is_passed_over_does_not_move_the_others() {
        let mut cells = cells(vec![json!(7), json!("[1]"), json!(8)]);
        assert_eq!(cells.take::<i64>().unwrap(), 7);
        cells.skip();
        assert_eq!(cells.take::<i64>().unwrap(), 8);
        cells.skip();
        assert!(cells.take::<i64>().is_err());
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_an_error() {
        for values in [vec![], vec![json!("7")], vec![json!(null)], vec![json!(7.5)], vec![json!([])]] {
            let error = cells(values).take::<i64>().unwrap_err();
            assert!(matches!(error, Error::Statement(_)), "{error:?}");
        }
    }

    #[test]
    fn a_cell_may_hold_a_row_rows_or_nothing() {
        let mut cells = cells(vec![json!("[1, \"a\"]"), json!("[[2], [3]]"), json!(null), json!(null)]);
        let mut row = cells.row().unwrap().unwrap();
        assert_eq!((row.take::<i64>().unwrap(), row.take::<String>().unwrap()), (1, "a".to_owned()));
        let ids: Vec<i64> = cells.rows().unwrap().iter_mut().map(|row| row.take().unwrap()).collect();
        assert_eq!(ids, [2, 3]);
        assert!(cells.row().unwrap().is_none());
        assert!(cells.rows().unwrap().is_empty());
        assert!(cells.row().is_err(), "there is no cell left");
    }
}

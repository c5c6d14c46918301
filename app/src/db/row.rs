//! Decides how a row is read: by position, in the order in which its columns were asked for.

use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};

use super::Error;

/// One row of an answer.
#[derive(Debug)]
pub struct Row(pub(super) SqliteRow);

impl Row {
    /// Reads the row from its first column on.
    pub fn cells(&self) -> Cells<'_> {
        Cells { row: self, next: 0 }
    }
}

/// Hands out the values of a row one after the other.
#[derive(Debug)]
pub struct Cells<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Cells<'r> {
    /// The next value.
    ///
    /// # Errors
    ///
    /// [`Error::Statement`] when there is none left or it is of another type.
    pub fn take<T: Decode<'r, Sqlite> + Type<Sqlite>>(&mut self) -> Result<T, Error> {
        let index = self.next;
        self.next += 1;
        Ok(self.row.0.try_get(index)?)
    }
}

//! One page of a list: which column orders it, where it starts and ends, how many rows.

use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};

/// A page of a list. The HTTP layer reads it from the `Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The column that orders the list. `'static`, since it becomes part of the SQL: it comes from
    /// a table of words and never from a request.
    pub column: &'static str,
    /// Where the page starts, in its own order; `None` is the beginning.
    pub from: Option<Bound>,
    /// True when `from` itself was on the page before.
    pub after: bool,
    /// Where the page ends, inclusive.
    pub to: Option<Bound>,
    /// Highest first.
    pub descending: bool,
    /// The most rows.
    pub rows_max: u32,
}

/// The value at one end of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Text(String),
    Number(i64),
}

impl Page {
    /// Everything, oldest first; for lists that have a limit of their own.
    pub fn all(column: &'static str) -> Self {
        Self {
            column,
            from: None,
            after: false,
            to: None,
            descending: false,
            rows_max: u32::MAX,
        }
    }

    /// The newest rows by `column`.
    pub fn newest(column: &'static str, rows_max: u32) -> Self {
        Self {
            descending: true,
            rows_max,
            ..Self::all(column)
        }
    }

    /// Narrows `base`, a `SELECT ... WHERE ...` with `binds` placeholders, to this page.
    pub(super) fn narrow(&self, base: &str, binds: usize) -> AssertSqlSafe<String> {
        let column = self.column;
        let (onward, back) = if self.descending {
            ("<", ">=")
        } else {
            (">", "<=")
        };
        let mut sql = base.to_owned();
        let mut next = binds;
        if self.from.is_some() {
            next += 1;
            let or_equal = if self.after { "" } else { "=" };
            sql += &format!(" AND {column} {onward}{or_equal} ${next}");
        }
        if self.to.is_some() {
            next += 1;
            sql += &format!(" AND {column} {back} ${next}");
        }
        let order = if self.descending { "DESC" } else { "ASC" };
        sql += &format!(" ORDER BY {column} {order} LIMIT ${}", next + 1);
        AssertSqlSafe(sql)
    }

    /// Binds the page's own values, after those of the base statement.
    pub(super) fn bind<'q>(
        &self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        let bounds = [&self.from, &self.to].into_iter().flatten();
        let query = bounds.fold(query, |query, bound| match bound {
            Bound::Text(text) => query.bind(text.clone()),
            Bound::Number(number) => query.bind(*number),
        });
        query.bind(i64::from(self.rows_max))
    }
}

//! Lists in pages, by the Platform API's `Range` header:
//! `Range: version ]17..; max=20, order=desc`.

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use fairway_api::error::ErrorId;
use serde::Serialize;

use crate::{
    problem::{Answer, Problem},
    store::page::{Bound, Page},
};

/// The most rows of one page.
const ROWS_MAX: u32 = 1_000;

/// What a list can be ordered by, and how it is when the request does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// The default first.
    pub columns: &'static [Column],
    /// Newest first unless the request says otherwise.
    pub descending: bool,
    /// Rows of a page unless the request says otherwise.
    pub rows: u32,
}

/// A way to order a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// In the header: `id`.
    pub name: &'static str,
    /// In the database: `apps.id`.
    pub column: &'static str,
    pub is_number: bool,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(name: &'static str, column: &'static str) -> Self {
        Self {
            name,
            column,
            is_number: false,
        }
    }

    /// A column of numbers.
    pub(crate) const fn number(name: &'static str, column: &'static str) -> Self {
        Self {
            name,
            column,
            is_number: true,
        }
    }
}

/// The `Range` header as it came, if any.
#[derive(Debug)]
pub(crate) struct Range(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Range {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        let Some(header) = parts.headers.get(header::RANGE) else {
            return Ok(Self(None));
        };
        header
            .to_str()
            .map(|text| Self(Some(text.to_owned())))
            .map_err(|_| bad("it is no text"))
    }
}

/// A page that was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    column: Column,
    descending: bool,
    rows: u32,
    page: Page,
}

fn bad(why: &str) -> Problem {
    Problem::new(
        ErrorId::BadRequest,
        format!("The Range header is not valid: {why}."),
    )
    .hint("For example: Range: id ..; max=100, order=desc")
}

impl Range {
    /// Reads the header by the rules of one list.
    pub(crate) fn of(&self, order: &Order) -> Answer<Wanted> {
        let mut wanted = Wanted::default_of(order);
        let Some(text) = &self.0 else {
            return Ok(wanted);
        };
        let (range, options) = text.split_once(';').unwrap_or((text, ""));
        let (name, bounds) = range.trim().split_once(' ').unwrap_or((range.trim(), ".."));
        let column = order
            .columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = order.columns.iter().map(|column| column.name).collect();
                bad(&format!("this list can be ordered by {}", names.join(", ")))
            })?;
        wanted.column = *column;
        wanted.page.column = column.column;
        let (from, to) = bounds
            .trim()
            .split_once("..")
            .ok_or_else(|| bad("it has no `..`"))?;
        wanted.page.after = from.starts_with(']');
        wanted.page.from = bound(column, from.trim_start_matches([']', '[']))?;
        wanted.page.to = bound(column, to.trim_end_matches([']', '[']))?;
        for option in options
            // Heroku's own clients end the last one with a semicolon.
            .split([',', ';'])
            .map(str::trim)
            .filter(|option| !option.is_empty())
        {
            match option.split_once('=') {
                Some(("order", "asc")) => wanted.descending = false,
                Some(("order", "desc")) => wanted.descending = true,
                Some(("max", max)) => {
                    let max: u32 = max.parse().map_err(|_| bad("max is no number"))?;
                    if !(1..=ROWS_MAX).contains(&max) {
                        return Err(bad("max must be from 1 to 1000"));
                    }
                    wanted.rows = max;
                }
                _ => return Err(bad(&format!("{option:?} is not known"))),
            }
        }
        wanted.page.descending = wanted.descending;
        wanted.page.rows_max = wanted.rows + 1;
        Ok(wanted)
    }
}

fn bound(column: &Column, text: &str) -> Answer<Option<Bound>> {
    if text.is_empty() {
        return Ok(None);
    }
    if !column.is_number {
        return Ok(Some(Bound::Text(text.into())));
    }
    text.parse()
        .map(|number| Some(Bound::Number(number)))
        .map_err(|_| bad("a bound is no number"))
}

impl Wanted {
    fn default_of(order: &Order) -> Self {
        let column = order.columns[0];
        // One row more than asked for tells whether there is a next page.
        let page = Page {
            descending: order.descending,
            rows_max: order.rows + 1,
            ..Page::all(column.column)
        };
        Self {
            column,
            descending: order.descending,
            rows: order.rows,
            page,
        }
    }

    /// For the store.
    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// The answer: 200 with the last page, 206 when there is more. `key` gives an item's value in
    /// the column of this name.
    pub(crate) fn answer<T: Serialize>(
        self,
        mut items: Vec<T>,
        key: fn(&T, &str) -> String,
    ) -> Response {
        let rows = self.rows as usize;
        let more = items.len() > rows;
        items.truncate(rows);
        let name = self.column.name;
        let ends = items.first().zip(items.last());
        let ends = ends.map(|(first, last)| (key(first, name), key(last, name)));
        let order = if self.descending { ", order=desc" } else { "" };
        let mut response = Json(items).into_response();
        let mut set = |header: &'static str, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(header, value);
            }
        };
        set("accept-ranges", name.into());
        if let Some((first, last)) = ends {
            set(
                "content-range",
                format!("{name} {first}..{last}; max={rows}{order}"),
            );
            if more {
                set("next-range", format!("{name} ]{last}..; max={rows}{order}"));
            }
        }
        if more {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

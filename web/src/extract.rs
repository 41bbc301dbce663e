//! axum's `Path` and `Form`, except that what they refuse is answered with a page.

use axum::extract::{FromRequest, FromRequestParts};

use crate::error::PageError;

/// Parts of the path. A name that cannot be one leads to no page.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(PageError))]
pub(crate) struct Path<T>(pub(crate) T);

/// The fields of a form.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Form), rejection(PageError))]
pub(crate) struct Form<T>(pub(crate) T);

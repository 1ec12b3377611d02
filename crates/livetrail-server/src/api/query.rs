//! Queries of requests. An unknown key is refused: it is a mistake, and the answer would not fit
//! the question.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::ApiError;

/// The query of a request, parsed as `T`.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

/// The query of requests that take none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| ApiError::BadQuery(rejection.body_text()))
    }
}

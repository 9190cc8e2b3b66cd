//! Query parameters, each read by name; one that is unknown or given twice is an error that names it.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use streambook_model::id::{Id, Kind};
use streambook_sinks::sql::Page;
use url::form_urlencoded;

use crate::{cursor, problem::Problem};

/// Rows of a page that does not say.
const DEFAULT_LIMIT: u16 = 20;
/// Rows of the longest page.
pub(crate) const MAX_LIMIT: u16 = 100;

/// The parameters of a request that have not been read yet.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Takes a parameter, if it was given.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(at) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(Problem::field(name, "given twice: give it once"));
        }
        Ok(Some(value))
    }

    /// Takes a parameter and reads it.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |text: String| text.parse().map_err(|error: T::Err| Problem::field(name, error));
        self.take(name)?.map(parse).transpose()
    }

    /// Takes a parameter and reads it as the JSON text of a type, such as a name of an enumeration or a time.
    pub(crate) fn named<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let read =
            |text: String| serde_json::from_value(text.into()).map_err(|error| Problem::field(name, error));
        self.take(name)?.map(read).transpose()
    }

    /// Takes `limit` and `cursor`. A cursor belongs to the list that gave it.
    pub(crate) fn page<K: DeserializeOwned>(&mut self, list: &'static str) -> Result<Page<K>, Problem> {
        let limit = self.parse::<u16>("limit")?.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::field("limit", format!("use 1 to {MAX_LIMIT}")));
        }
        let after = self.take("cursor")?.map(|text| cursor::read(list, &text)).transpose()?;
        Ok(Page { limit, after })
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(Problem::field(name, "there is no such parameter here: leave it out")),
            None => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

/// The id at the end of a path. What is no id of this kind is an object that does not exist.
pub(crate) struct PathId<K>(pub(crate) Id<K>);

impl<K: Kind, S: Send + Sync> FromRequestParts<S> for PathId<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unknown = |text: &str| Problem::not_found("object", text.chars().take(80).collect::<String>());
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| unknown(parts.uri.path()))?;
        text.parse().map(Self).map_err(|_| unknown(&text))
    }
}

//! The address of a database. It may hold a password, which is shown nowhere: not in a log, not in an error, not when the
//! configuration is printed.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

/// What is shown of a password.
const HIDDEN: &str = "***";
/// Parameters of an address that hold a secret.
const SECRET_PARAMETERS: [&str; 1] = ["password"];

/// The address of a database. Its text, its `Debug` form and its serialised form hide the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SqlUrl(String);

impl SqlUrl {
    /// The address with its password, for who connects.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The same server's database of this name.
    #[must_use]
    pub fn of_database(&self, name: &str) -> Self {
        match Url::parse(&self.0) {
            Ok(mut url) => {
                url.set_path(name);
                Self(url.to_string())
            }
            // It is refused when it is used.
            Err(_) => self.clone(),
        }
    }

    /// The address without its password.
    fn shown(&self) -> String {
        let Ok(mut url) = Url::parse(&self.0) else {
            // Nothing can be told apart in it, so nothing but its scheme is shown.
            let scheme = self.0.split_once("://").map_or("", |(scheme, _)| scheme);
            return format!("{scheme}://{HIDDEN}");
        };
        if url.scheme() == "sqlite" {
            return self.0.clone();
        }
        if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
            return format!("{}://{HIDDEN}", url.scheme());
        }
        if url.query().is_some() {
            hide_parameters(&mut url);
        }
        url.to_string()
    }
}

fn hide_parameters(url: &mut Url) {
    let hidden = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        let secret = SECRET_PARAMETERS.contains(&&*name);
        (name.into_owned(), if secret { HIDDEN.to_owned() } else { value.into_owned() })
    };
    let pairs: Vec<_> = url.query_pairs().map(hidden).collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
}

impl<T: Into<String>> From<T> for SqlUrl {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for SqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl Serialize for SqlUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        for (url, shown) in [
            (
                "postgres://app:s3cret@db:5433/books?sslmode=require",
                "postgres://app:***@db:5433/books?sslmode=require",
            ),
            ("postgres://app@db/books?password=s3cret", "postgres://app@db/books?password=***"),
            ("postgres://app:s3cret@[bad", "postgres://***"),
            ("postgres://app@db/books", "postgres://app@db/books"),
            ("sqlite:///var/lib/books.db", "sqlite:///var/lib/books.db"),
        ] {
            let url = SqlUrl::from(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
            assert!(!format!("{url:?}").contains("s3cret"));
        }
    }
}

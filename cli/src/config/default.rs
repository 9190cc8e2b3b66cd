//! The commented default configuration, which is part of the program.

/// What `streambook config print --default` shows and `docs/` refers to.
pub(crate) const DEFAULT_CONFIG: &str = include_str!("default.toml");

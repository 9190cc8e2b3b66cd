//! Whether the schemas of today can live with those of yesterday: a record written by any published version must be
//! readable with the current schema and the other way round (Avro specification, "Schema Resolution").

use std::collections::BTreeMap;

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};

use crate::codec;

/// A schema file: `Name`, or `Name.version` for a published version, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// The file's name without `.avsc`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The schemas of this build.
pub fn current() -> Vec<SchemaFile> {
    files(codec::current_schemas())
}

/// The published versions this build knows.
pub fn past() -> Vec<SchemaFile> {
    files(codec::past_schemas())
}

fn files(embedded: &[(&str, &str)]) -> Vec<SchemaFile> {
    embedded
        .iter()
        .map(|(name, text)| SchemaFile { name: (*name).to_owned(), text: (*text).to_owned() })
        .collect()
}

/// Everything that is wrong, in words. Empty when every version can read every other.
pub fn check(current: &[SchemaFile], past: &[SchemaFile]) -> Vec<String> {
    let mut problems = Vec::new();
    let today: BTreeMap<&str, Schema> =
        current.iter().filter_map(|file| parse(file, &mut problems)).collect();
    let mut published: BTreeMap<&str, bool> = today.keys().map(|name| (*name, false)).collect();
    for file in past {
        let Some((stem, before)) = parse(file, &mut problems) else { continue };
        let name = stem.split('.').next().unwrap_or(stem);
        let Some(now) = today.get(name) else {
            problems.push(format!(
                "{stem} was published and {name} is gone: records of it could not be read any more"
            ));
            continue;
        };
        if before.canonical_form() == now.canonical_form() {
            published.insert(name, true);
        }
        if let Err(error) = SchemaCompatibility::mutual_read(&before, now) {
            problems.push(format!("{name} is not compatible with its published version {stem}: {error}"));
        }
    }
    let missing = published.iter().filter(|(_, published)| !**published);
    problems.extend(
        missing
            .map(|(name, _)| format!("{name} as it is now is not among its published versions in history/")),
    );
    problems
}

fn parse<'a>(file: &'a SchemaFile, problems: &mut Vec<String>) -> Option<(&'a str, Schema)> {
    match Schema::parse_str(&file.text) {
        Ok(schema) => Some((&file.name, schema)),
        Err(error) => {
            problems.push(format!("{}.avsc is not a schema: {error}", file.name));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, fields: &str) -> SchemaFile {
        let text = format!(r#"{{"type":"record","name":"A","fields":[{fields}]}}"#);
        SchemaFile { name: name.into(), text }
    }

    fn check_change(before: &str, now: &str, expect: Option<&str>) {
        let problems = check(&[file("A", now)], &[file("A.1", before), file("A.2", now)]);
        match expect {
            None => assert_eq!(problems, Vec::<String>::new()),
            Some(part) => assert!(problems.iter().any(|problem| problem.contains(part)), "{problems:?}"),
        }
    }

    #[test]
    fn what_readers_or_writers_could_not_follow_is_a_problem() {
        let x = r#"{"name":"x","type":"long"}"#;
        let optional = r#"{"name":"y","type":["null","long"],"default":null}"#;
        check_change(x, &format!("{x},{optional}"), None);
        check_change(x, &format!(r#"{x},{{"name":"y","type":"long"}}"#), Some("not compatible"));
        check_change(&format!("{x},{optional}"), x, None);
        check_change(x, r#"{"name":"x","type":"string"}"#, Some("not compatible"));
        check_change(&format!(r#"{x},{{"name":"y","type":"long"}}"#), x, Some("not compatible"));
    }

    #[test]
    fn a_change_that_is_not_recorded_and_a_lost_schema_are_problems() {
        let x = r#"{"name":"x","type":"long"}"#;
        assert!(
            check(&[file("A", x)], &[]).iter().any(|problem| problem.contains("not among its published"))
        );
        assert!(check(&[], &[file("A.1", x)]).iter().any(|problem| problem.contains("is gone")));
    }

    #[test]
    fn this_builds_schemas_are_compatible_with_all_that_were_published() {
        assert_eq!(check(&current(), &past()), Vec::<String>::new());
    }
}

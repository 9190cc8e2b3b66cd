//! Dashboards, alarms and documents name only metrics that the code has, with labels that those metrics carry, and their
//! PromQL holds together. What the queries on ClickHouse answer is checked by `tests/tools/test_dashboards.py`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::root;

/// Functions and words of PromQL that our queries use: what is not here was mistyped, or belongs here after a look.
const KNOWN: [&str; 19] = [
    "and",
    "by",
    "changes",
    "clamp_min",
    "count",
    "deriv",
    "histogram_quantile",
    "increase",
    "label_replace",
    "max",
    "min",
    "on",
    "or",
    "rate",
    "sum",
    "time",
    "unless",
    "vector",
    "without",
];
/// What takes a range such as `[5m]`, and nothing else does.
const OVER_TIME: [&str; 4] = ["changes", "deriv", "increase", "rate"];
/// Names in documents that look like metrics: databases, roles, keys of Stripe's metadata.
const NO_METRICS: [&str; 6] = [
    "streambook_app",
    "streambook_demo",
    "streambook_merchant",
    "streambook_payment",
    "streambook_reader",
    "streambook_writer",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as the enum's source says it: its kind, and the words among which its labels are.
#[derive(Debug)]
struct Known {
    kind: Kind,
    words: BTreeSet<String>,
}

/// The metrics by name. The enum has no list of itself, so its source is read.
fn metrics() -> BTreeMap<String, Known> {
    let source = fs::read_to_string(root().join("runtime/src/metrics.rs")).unwrap();
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let mut found = BTreeMap::new();
    for line in &lines {
        let Some((variant, name)) = line.strip_prefix("Self::").and_then(|rest| rest.split_once(" => "))
        else {
            continue;
        };
        let declared = lines.iter().position(|other| *other == format!("{variant},")).unwrap();
        let described =
            lines[declared - 1].strip_prefix("/// ").unwrap_or_else(|| panic!("{variant}: no words"));
        let labels = described.split(':').next().unwrap();
        let kind = match labels.split([' ', ',']).next().unwrap() {
            "Counter" => Kind::Counter,
            "Gauge" => Kind::Gauge,
            "Histogram" => Kind::Histogram,
            other => panic!("{variant}: a {other}?"),
        };
        let words = labels.split([' ', ',']).map(str::to_owned).collect();
        found.insert(name.trim_matches(['"', ',']).to_owned(), Known { kind, words });
    }
    assert!(found.len() > 20, "the metrics were not found");
    found
}

/// The metric behind the name of a series: a histogram has three.
fn behind<'a>(series: &str, metrics: &'a BTreeMap<String, Known>) -> Option<&'a Known> {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
    match of_histogram.and_then(|name| metrics.get(name)) {
        Some(metric) if metric.kind == Kind::Histogram => Some(metric),
        _ => metrics.get(series).filter(|metric| metric.kind != Kind::Histogram),
    }
}

fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("streambook_") && word.len() > "streambook_".len()).collect()
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect();
    assert!(!found.is_empty(), "{folder} has no .{ending}");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Every query to Prometheus, with what it is called by.
fn queries() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for path in files("dashboards/grafana/dashboards", "json") {
        let board: Value = serde_json::from_str(&read(&path)).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                if let Some(expr) = target["expr"].as_str() {
                    let legend = target["legendFormat"].as_str().unwrap();
                    let place = format!("{}: {}", board["uid"], panel["title"]);
                    found.push((place, expr.to_owned(), legend.to_owned()));
                }
            }
        }
    }
    for path in files("dashboards/grafana/alerting", "yaml") {
        let text = read(&path);
        let asked: Vec<_> =
            text.lines().filter_map(|line| line.trim().strip_prefix("expr: '")?.strip_suffix('\'')).collect();
        let alarms = text.matches("datasourceUid: streambook-prometheus").count();
        assert_eq!(asked.len(), alarms, "{}: a query is not on a line of its own", path.display());
        found
            .extend(asked.iter().map(|expr| (path.display().to_string(), (*expr).to_owned(), String::new())));
    }
    found
}

#[test]
fn every_metric_in_dashboards_alarms_and_documents_exists() {
    let metrics = metrics();
    let mut used = BTreeSet::new();
    for path in [files("dashboards/grafana/dashboards", "json"), files("dashboards/grafana/alerting", "yaml")]
        .concat()
    {
        for series in names(&read(&path)) {
            assert!(behind(series, &metrics).is_some(), "{}: {series} does not exist", path.display());
            let ends = ["_bucket", "_sum", "_count"];
            let name =
                ends.iter().find_map(|end| series.strip_suffix(end).filter(|it| metrics.contains_key(*it)));
            used.insert(name.unwrap_or(series).to_owned());
        }
    }
    let unseen: Vec<_> = metrics.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unseen.is_empty(), "no dashboard and no alarm looks at {unseen:?}");
    for path in [files("docs", "md"), files("", "md")].concat() {
        for name in names(&read(&path)).into_iter().filter(|name| !NO_METRICS.contains(name)) {
            let exists = metrics.contains_key(name) || behind(name, &metrics).is_some();
            assert!(exists, "{}: {name} does not exist", path.display());
        }
    }
}

#[test]
fn promql_holds_together_and_asks_for_labels_that_there_are() {
    let metrics = metrics();
    let queries = queries();
    assert!(queries.len() > 40, "the queries were not found");
    for (place, expr, legend) in queries {
        let place = format!("{place}: {expr}");
        let bare = without_texts(&expr, &place);
        balanced(&bare, &place);
        called(&bare, &place);
        let used = names(&bare);
        assert!(!used.is_empty(), "{place}: asks for no metric");
        if used.iter().any(|series| series.ends_with("_bucket")) {
            let is_quantile = bare.contains("histogram_quantile(") && asked_labels(&bare).contains("le");
            assert!(is_quantile, "{place}: buckets without a quantile by `le`");
        }
        let mut labels: BTreeSet<&str> = used
            .iter()
            .filter_map(|name| behind(name, &metrics))
            .flat_map(|it| &it.words)
            .map(String::as_str)
            .collect();
        labels.insert("le");
        if expr.contains("label_replace(") {
            // The only label that is made: a task's name without its partition.
            assert!(
                expr.contains(r#""processor", "$1", "task", "([^/]+)/.*""#),
                "{place}: makes another label"
            );
            labels.insert("processor");
        }
        for label in asked_labels(&bare).into_iter().chain(shown_labels(&legend)) {
            assert!(labels.contains(label.as_str()), "{place}: no metric of it has the label {label}");
        }
    }
}

/// The expression with what is between quotes taken out.
fn without_texts(expr: &str, place: &str) -> String {
    let parts: Vec<_> = expr.split('"').collect();
    assert!(parts.len() % 2 == 1, "{place}: a text is not closed");
    parts.into_iter().step_by(2).collect::<Vec<_>>().join("\"\"")
}

fn balanced(expr: &str, place: &str) {
    let mut open = Vec::new();
    for c in expr.chars() {
        match c {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' => assert_eq!(open.pop(), Some(c), "{place}: `{c}` closes nothing"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{place}: {open:?} is missing");
}

/// Every function is known, and those over time, and only those, are given a range.
fn called(expr: &str, place: &str) {
    let mut ranges = 0;
    for (at, _) in expr.match_indices('(') {
        let before = expr[..at].trim_end();
        let start =
            before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |found| found + 1);
        let name = &before[start..];
        assert!(name.is_empty() || KNOWN.contains(&name), "{place}: what is {name}()?");
        ranges += usize::from(OVER_TIME.contains(&name));
    }
    assert_eq!(expr.matches('[').count(), ranges, "{place}: a range too many or too few");
    for range in expr.split('[').skip(1) {
        let (number, unit) = range.split(']').next().unwrap().split_at(range.find(']').unwrap() - 1);
        assert!(number.parse::<u32>().is_ok() && "smhd".contains(unit), "{place}: [{number}{unit}]");
    }
}

/// Labels in `by (…)` and in `{…}`.
fn asked_labels(expr: &str) -> BTreeSet<String> {
    let grouped = expr.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    let matched = expr.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
    let parts = grouped.chain(matched).flat_map(|list| list.split(','));
    parts.map(|part| part.split(['=', '!']).next().unwrap().trim().to_owned()).collect()
}

/// Labels in a legend's `{{…}}`.
fn shown_labels(legend: &str) -> Vec<String> {
    legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned()).collect()
}

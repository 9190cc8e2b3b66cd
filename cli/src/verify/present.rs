//! The report for people, and progress on a terminal. The last line says how it ended.

use std::fmt::Write as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    progress::{Progress, Stage},
    report::{Difference, Outcome, Report},
};

/// A progress bar on standard error; nothing where that is no terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    stage: Option<Stage>,
}

impl Bar {
    /// Not yet started.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{msg:22} {bar:30} {human_pos}/{human_len} {per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, stage: None }
    }
}

impl Progress for Bar {
    fn update(&mut self, stage: Stage, done: u64, total: u64) {
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.bar.reset();
            self.bar.set_message(stage.name());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The report as text, ended by a line that begins with `verify:`.
pub(crate) fn text(report: &Report) -> String {
    let mut text = counts(report);
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for unverified in &report.unverified {
        let _ = writeln!(text, "NOT VERIFIED: {unverified}");
    }
    if let Some(difference) = &report.first_difference {
        text.push_str(&shown(difference));
    }
    text + &last_line(report)
}

fn counts(report: &Report) -> String {
    let counts = &report.counts;
    let rows = [
        ("records of the log", counts.records),
        ("tasks replayed", counts.tasks),
        ("inbox records replayed", counts.replayed),
        ("outputs compared", counts.outputs),
        ("lineage chains", counts.lineage_chains),
        ("state keys compared", counts.state_keys),
        ("books (hash chains)", counts.books),
        ("ledger transactions", counts.transactions),
        ("ledger entries", counts.entries),
        ("payments", counts.payments),
        ("SQL rows compared", counts.sql_rows),
    ];
    rows.iter().map(|(name, count)| format!("{name:<24}{count:>14}\n")).collect()
}

fn shown(difference: &Difference) -> String {
    let mut text = format!("DIFFERENCE: {}\n", difference.what);
    if let Some(invariant) = &difference.invariant {
        let _ = writeln!(text, "  breaks:   {invariant}");
    }
    if let (Some(topic), Some(partition)) = (&difference.topic, difference.partition) {
        let offset = difference.offset.map(|offset| format!(" offset {offset}")).unwrap_or_default();
        let _ = writeln!(text, "  at:       {topic}/{partition}{offset}");
    }
    let _ = writeln!(text, "  expected: {}", difference.expected);
    let _ = writeln!(text, "  found:    {}", difference.found);
    text
}

fn last_line(report: &Report) -> String {
    let (counts, seconds) = (&report.counts, report.elapsed_ms.div_ceil(1_000));
    match report.outcome() {
        Outcome::Ok => format!(
            "verify: ok ({} records, {} transactions, {} entries, {} payments in {seconds} s; {} records/s, {} entries/s)",
            counts.records,
            counts.transactions,
            counts.entries,
            counts.payments,
            report.records_per_second,
            report.entries_per_second
        ),
        Outcome::Differs => "verify: DIFFERENT (the first difference is above)".to_owned(),
        Outcome::Incomplete => {
            format!(
                "verify: incomplete ({} things could not be verified, see above)",
                report.unverified.len()
            )
        }
    }
}

//! Reads posting templates from TOML. What is wrong is found here, before any settings take effect: a name that does
//! not exist, a set that lacks a template, and above all a template that does not balance for all amounts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    account::Account,
    template::{Line, Part, Side, Template, TemplateName, Templates},
};

/// Posting templates that are refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not TOML, or not of the right shape.
    #[error("the posting templates cannot be read")]
    Toml(#[source] toml::de::Error),
    /// There is nothing in it.
    #[error("there are no posting templates: at least one set is needed, for example `custodial`")]
    Empty,
    /// A template nothing would ever post.
    #[error("{set}: there is no template `{template}`; expected one of: {}", names(&TemplateName::ALL.map(TemplateName::as_str)))]
    UnknownTemplate {
        /// The set.
        set: String,
        /// The name.
        template: String,
    },
    /// A template that will be needed.
    #[error("{set}: the template `{template}` is missing; give it, with `entries = []` if it posts nothing")]
    MissingTemplate {
        /// The set.
        set: String,
        /// The name.
        template: &'static str,
    },
    /// Money that was received would be nowhere in the books.
    #[error("{set}: the template `{template}` posts nothing; what was received must be posted")]
    NothingPosted {
        /// The set.
        set: String,
        /// The name.
        template: &'static str,
    },
    /// Versions count from 1.
    #[error("{set}.{template}: version 0; versions count from 1")]
    Version {
        /// The set.
        set: String,
        /// The template.
        template: String,
    },
    /// Neither or both of debit and credit.
    #[error("{set}.{template}: entry {entry} needs an account as either `debit` or `credit`")]
    Side {
        /// The set.
        set: String,
        /// The template.
        template: String,
        /// The entry's number, from 1.
        entry: usize,
    },
    /// An account that does not exist.
    #[error("{set}.{template}: there is no account `{account}`; expected one of: {}", names(&Account::ALL.map(|account| account.to_string())))]
    UnknownAccount {
        /// The set.
        set: String,
        /// The template.
        template: String,
        /// The name.
        account: String,
    },
    /// An amount that does not exist.
    #[error("{set}.{template}: there is no amount `{amount}`; expected gross, fee or net")]
    UnknownAmount {
        /// The set.
        set: String,
        /// The template.
        template: String,
        /// The name.
        amount: String,
    },
    /// Debits and credits differ for some amounts.
    #[error(
        "{set}.{template} does not balance: debits less credits are {imbalance}, where gross = net + fee"
    )]
    Unbalanced {
        /// The set.
        set: String,
        /// The template.
        template: String,
        /// The difference, as a sum of the amounts.
        imbalance: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    version: u32,
    entries: Vec<RawLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    debit: Option<String>,
    credit: Option<String>,
    amount: String,
}

/// Where in the file we are, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    set: &'a str,
    template: &'a str,
}

impl Templates {
    /// Reads and checks posting templates, for example [`super::BUILTIN_POSTINGS`] or `Settings.postings`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let raw: BTreeMap<String, BTreeMap<String, RawTemplate>> =
            toml::from_str(text).map_err(TemplateError::Toml)?;
        if raw.is_empty() {
            return Err(TemplateError::Empty);
        }
        let sets = raw.into_iter().map(|(set, templates)| Ok((set.clone(), parse_set(&set, &templates)?)));
        sets.collect::<Result<_, _>>().map(Self)
    }
}

fn parse_set(
    set: &str,
    raw: &BTreeMap<String, RawTemplate>,
) -> Result<BTreeMap<TemplateName, Template>, TemplateError> {
    let mut templates = BTreeMap::new();
    for (template, raw) in raw {
        let unknown = || TemplateError::UnknownTemplate { set: set.into(), template: template.clone() };
        let name = TemplateName::parse(template).ok_or_else(unknown)?;
        templates.insert(name, parse_template(Place { set, template }, raw)?);
    }
    let empty = |name: &TemplateName| {
        name.is_receipt() && templates.get(name).is_some_and(|template: &Template| template.lines.is_empty())
    };
    if let Some(name) = TemplateName::ALL.into_iter().find(empty) {
        return Err(TemplateError::NothingPosted { set: set.into(), template: name.as_str() });
    }
    match TemplateName::ALL.into_iter().find(|name| !templates.contains_key(name)) {
        Some(missing) => Err(TemplateError::MissingTemplate { set: set.into(), template: missing.as_str() }),
        None => Ok(templates),
    }
}

fn parse_template(place: Place<'_>, raw: &RawTemplate) -> Result<Template, TemplateError> {
    if raw.version == 0 {
        return Err(TemplateError::Version { set: place.set.into(), template: place.template.into() });
    }
    let lines = raw.entries.iter().zip(1..).map(|(line, entry)| parse_line(place, line, entry));
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    match imbalance(&lines) {
        Some(imbalance) => Err(TemplateError::Unbalanced {
            set: place.set.into(),
            template: place.template.into(),
            imbalance,
        }),
        None => Ok(Template { version: raw.version, lines }),
    }
}

fn parse_line(place: Place<'_>, raw: &RawLine, entry: usize) -> Result<Line, TemplateError> {
    let (set, template) = (place.set.to_owned(), place.template.to_owned());
    let (side, account) = match (&raw.debit, &raw.credit) {
        (Some(account), None) => (Side::Debit, account),
        (None, Some(account)) => (Side::Credit, account),
        _ => return Err(TemplateError::Side { set, template, entry }),
    };
    let Some(amount) = part(&raw.amount) else {
        return Err(TemplateError::UnknownAmount { set, template, amount: raw.amount.clone() });
    };
    let Some(account) = Account::parse(account) else {
        return Err(TemplateError::UnknownAccount { set, template, account: account.clone() });
    };
    Ok(Line { account, side, amount })
}

fn part(text: &str) -> Option<Part> {
    match text {
        "gross" => Some(Part::Gross),
        "fee" => Some(Part::Fee),
        "net" => Some(Part::Net),
        _ => None,
    }
}

/// What debits exceed credits by, in words; `None` where they are equal for all amounts. With gross replaced by
/// net + fee, net and fee vary freely, so the lines balance exactly where both of their counts are zero.
fn imbalance(lines: &[Line]) -> Option<String> {
    let (mut net, mut fee) = (0_i64, 0_i64);
    for line in lines {
        let sign = if line.side == Side::Debit { 1 } else { -1 };
        net += if line.amount == Part::Fee { 0 } else { sign };
        fee += if line.amount == Part::Net { 0 } else { sign };
    }
    match (net, fee) {
        (0, 0) => None,
        (0, fee) => Some(format!("{fee} × fee")),
        (net, 0) => Some(format!("{net} × net")),
        (net, fee) if net == fee => Some(format!("{net} × gross")),
        (net, fee) => Some(format!("{net} × net and {fee} × fee")),
    }
}

fn names<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

//! The posting templates: the built-in ones are complete; wrong ones are refused with what is wrong and where.

use super::*;

/// The built-in templates with one thing replaced, and what the refusal must say.
fn check(what: &str, by: &str, expect: &str) {
    assert!(BUILTIN_POSTINGS.contains(what), "{what} is not in the built-in templates");
    let error = Templates::parse(&BUILTIN_POSTINGS.replacen(what, by, 1)).unwrap_err();
    assert!(error.to_string().contains(expect), "{error}");
}

#[test]
fn the_built_in_sets_have_every_template_and_no_other_set_exists() {
    let templates = Templates::parse(BUILTIN_POSTINGS).unwrap();
    for set in ["custodial", "direct"] {
        assert!(templates.has_set(set));
        assert!(TemplateName::ALL.into_iter().all(|name| templates.get(set, name).is_some()));
    }
    assert!(!templates.has_set("escrow"));
}

#[test]
fn a_template_that_does_not_balance_for_all_amounts_is_refused_with_its_imbalance() {
    let of = |imbalance| {
        format!("custodial.payment.applied does not balance: debits less credits are {imbalance}")
    };
    let line = |side, account, amount| format!("  {{ {side} = \"{account}\", amount = \"{amount}\" }},\n");
    let clearing = line("debit", "merchant/clearing", "gross");
    let available = line("credit", "merchant/available", "net");
    let fees = line("credit", "platform/fees", "fee");
    let all = format!("{clearing}{available}{fees}");
    check(&all, &format!("{clearing}{available}"), &of("1 × fee"));
    check(&all, &format!("{clearing}{fees}"), &of("1 × net"));
    check(&all, &clearing, &of("1 × gross"));
    check(&all, &format!("{available}{fees}"), &of("-1 × gross"));
    check(&all, &format!("{all}{fees}{fees}{clearing}"), &of("1 × net and -1 × fee"));
    let split = line("debit", "merchant/clearing", "net") + &line("debit", "merchant/clearing", "fee");
    let whole = line("credit", "merchant/available", "gross");
    let text = BUILTIN_POSTINGS.replacen(&all, &format!("{split}{whole}"), 1);
    assert!(Templates::parse(&text).is_ok(), "net and fee are the gross");
}

#[test]
fn names_that_do_not_exist_are_refused() {
    check(
        "debit = \"platform/deposits\"",
        "debit = \"platform/vault\"",
        "there is no account `platform/vault`",
    );
    check("amount = \"net\"", "amount = \"tip\"", "custodial.payment.applied: there is no amount `tip`");
    check("[direct.\"card.fee\"]", "[direct.\"card.fees\"]", "direct: there is no template `card.fees`");
}

#[test]
fn a_set_that_lacks_a_template_is_refused() {
    let start = BUILTIN_POSTINGS.find("[direct.\"suspense.card\"]").unwrap();
    let error = Templates::parse(&BUILTIN_POSTINGS[..start]).unwrap_err();
    assert!(error.to_string().contains("direct: the template `suspense.card` is missing"), "{error}");
    assert!(Templates::parse("").unwrap_err().to_string().contains("at least one set"));
}

#[test]
fn a_set_that_would_not_book_what_is_received_is_refused() {
    let of = |name| format!("[custodial.\"{name}\"]\nversion = 1\nentries = [");
    let text = BUILTIN_POSTINGS.replacen(&of("card.received"), &(of("card.received") + "]\nrest = ["), 1);
    let start = text.find("]\nrest = [").unwrap();
    let end = start + text[start + 2..].find("\n]\n").unwrap() + 5;
    let error = Templates::parse(&format!("{}]\n{}", &text[..start], &text[end..])).unwrap_err();
    assert!(error.to_string().contains("custodial: the template `card.received` posts nothing"), "{error}");
}

#[test]
fn the_shape_of_a_template_is_checked() {
    let debit = "{ debit = \"platform/deposits\", amount";
    check(debit, "{ amount", "custodial.transfer.received: entry 1 needs an account");
    check(
        debit,
        "{ debit = \"platform/deposits\", credit = \"platform/fees\", amount",
        "entry 1 needs an account",
    );
    check(debit, "{ side = 1, amount", "cannot be read");
    check("version = 1", "version = 0", "custodial.transfer.received: version 0");
    check("version = 1", "version = -1", "cannot be read");
}

//! libFuzzer's entry: `STREAMBOOK_FUZZ_TARGET` says which property it looks for a counterexample of. The arguments are
//! libFuzzer's: folders of inputs, or files to replay.

#![no_main]

use std::{cell::RefCell, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use streambook_fuzz::{Check, TARGETS, Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("STREAMBOOK_FUZZ_TARGET").unwrap_or_default();
    let names = TARGETS.map(|target| target.name).join(", ");
    target(&name).unwrap_or_else(|| panic!("STREAMBOOK_FUZZ_TARGET={name:?}: use one of {names}"))
});

thread_local! {
    static CHECK: RefCell<Check> = RefCell::new((TARGET.prepare)());
}

fuzz_target!(|data: &[u8]| CHECK.with_borrow_mut(|check| check(data)));

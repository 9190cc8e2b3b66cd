//! The deterministic simulator: the real processors, the runtime's real step and lineage, the connector's real follower,
//! feed and resumption, over a simulated log, disk, chain, Stripe and clock, single-threaded and from one seed.
//!
//! [`run`] plays one seed with the faults of [`faults`], lets everything come to rest, and checks two things: the
//! [`invariants`], one predicate each, and the [`oracle`], which computes the expected payments and balances from the
//! final canonical chains, the accepted commands and the set of Stripe objects, and shares no code with the processors.
//! A seed replays exactly: `SEED=<x> cargo run -p streambook-simulation --bin soak`.
//!
//! | file | what |
//! |---|---|
//! | `random`, `faults`, `mutation`, `violation` | chance, counts, deliberate defects, findings |
//! | `disk`, `store`, `log` | the disk with one write-ahead log, a task's state, the `Log` trait over it |
//! | `tasks`, `mutants` | the runtime of both engines, and processors that are broken on purpose |
//! | `chain`, `verified`, `cards`, `clients`, `operator` | what happens outside: blocks, Stripe, merchants, administration |
//! | `machine`, `world`, `rest` | the schedule, and how everything comes to rest |
//! | `history`, `invariants`, `oracle`, `matching` | what was recorded, and whether it is right |
//! | `run` | one seed |

pub mod cards;
pub mod chain;
pub mod clients;
pub mod disk;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod log;
pub mod machine;
pub mod matching;
pub mod mutants;
pub mod mutation;
pub mod operator;
pub mod oracle;
pub mod random;
pub mod rest;
pub mod run;
pub mod store;
pub mod tasks;
pub mod verified;
pub mod violation;
pub mod wallet;
pub mod world;

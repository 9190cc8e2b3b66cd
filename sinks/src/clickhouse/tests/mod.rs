//! The sink on the real engine.

mod engine;
mod exactly_once;
mod records;
mod views;
mod world;

//! What happens to payments, told once for every chain, and on the development chain and anvil alike.

mod amounts;
mod deadlines;
mod reorgs;

use crate::{anvil::Anvil, devchain::Development};

#[tokio::test]
async fn amounts_on_the_development_chain() {
    amounts::play::<Development>().await;
}

#[tokio::test]
async fn amounts_on_anvil() {
    amounts::play::<Anvil>().await;
}

#[tokio::test]
async fn deadlines_on_the_development_chain() {
    deadlines::play::<Development>().await;
}

#[tokio::test]
async fn deadlines_on_anvil() {
    deadlines::play::<Anvil>().await;
}

#[tokio::test]
async fn reorganisations_on_the_development_chain() {
    reorgs::play::<Development>().await;
}

#[tokio::test]
async fn reorganisations_on_anvil() {
    reorgs::play::<Anvil>().await;
}

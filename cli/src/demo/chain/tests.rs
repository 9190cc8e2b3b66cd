//! The development chain, driven as the demo drives it. Anvil's dialect is proved by the demo itself, which `make test`
//! runs on both.

use super::*;

#[tokio::test]
async fn a_reorganisation_takes_a_transfer_away_and_carries_another() {
    let chain = dev::start().await.unwrap();
    let to = |digit: &str| format!("0x{}", digit.repeat(40));
    let (lost, kept) = (chain.payment(&to("1"), 5), chain.payment(&to("2"), 7));
    let mut quiet = chain.quiet().await;
    let transaction = chain.send(&lost).await.unwrap();
    quiet.mine().await.unwrap();
    quiet.mine().await.unwrap();
    let block = chain.included(&transaction).await.unwrap();
    assert_eq!(quiet.reorg(block, &[kept]).await.unwrap(), 2);
    assert!(chain.rpc.receipt(&transaction).await.unwrap().is_none());
    let logs =
        chain.rpc.call(Call::new("eth_getLogs", serde_json::json!([{ "fromBlock": "0x0" }]))).await.unwrap();
    let topics: Vec<_> =
        logs.as_array().unwrap().iter().map(|log| log["topics"][2].as_str().unwrap()).collect();
    assert_eq!(topics, [format!("0x{}", token_word(&to("2")))]);
    drop(quiet);
    chain.close().await.unwrap();
}

#[tokio::test]
async fn the_clock_can_be_put_ahead() {
    let chain = dev::start().await.unwrap();
    let before = chain.rpc.head().await.unwrap().1;
    chain.advance(1_000).await;
    chain.quiet().await.mine().await.unwrap();
    assert!(chain.rpc.head().await.unwrap().1 >= before + 1_000);
    chain.close().await.unwrap();
}

fn token_word(address: &str) -> String {
    crate::demo::token::address(address).unwrap()
}

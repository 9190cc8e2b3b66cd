//! The built-in development chain: it carries transfers on request, so nothing has to be deployed.

use serde_json::{Value, json};
use streambook_devchain::{DevChain, DevNode};
use tokio::sync::Mutex;

use super::{CHAIN_ID, Call, Chain, Clock, DECIMALS, Dialect, Node, Rpc, Tokens, Transfer, wall_clock};

/// The accepted token's contract: where a first contract of anvil's first account is.
const TOKEN: &str = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
/// The unlisted token's contract.
const UNLISTED: &str = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512";
/// The contract that makes several payments in one transaction.
const ROUTER: &str = "0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0";
/// Who pays.
const PAYER: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";

pub(super) async fn start() -> anyhow::Result<Chain> {
    let genesis = wall_clock()?;
    let node = DevNode::start(DevChain::new(CHAIN_ID, genesis), 0).await?;
    let rpc = Rpc::new(node.url())?;
    for (address, symbol) in [(TOKEN, "USDC"), (UNLISTED, "JUNK")] {
        let params = json!({ "address": address, "symbol": symbol, "decimals": DECIMALS });
        rpc.call(Call::new("dev_declareToken", params)).await?;
    }
    Ok(Chain {
        name: "built-in development chain".into(),
        rpc,
        dialect: Box::new(Dev),
        tokens: Tokens { accepted: TOKEN.into(), unlisted: UNLISTED.into() },
        clock: Mutex::new(Clock { ahead: 0, last: genesis }),
        sending: Mutex::default(),
        node: Node::Dev(node),
    })
}

struct Dev;

impl Dialect for Dev {
    fn transfer(&self, transfer: &Transfer) -> anyhow::Result<Call> {
        Ok(Call::new("dev_transfer", direct(transfer)))
    }

    fn together(&self, transfers: &[Transfer]) -> anyhow::Result<Call> {
        let moved = |transfer: &Transfer| json!({ "token": transfer.token, "from": PAYER, "to": transfer.to, "value": units(transfer) });
        let transfers: Vec<_> = transfers.iter().map(moved).collect();
        let params = json!({ "kind": "routed", "sender": PAYER, "router": ROUTER, "transfers": transfers });
        Ok(Call::new("dev_transfer", params))
    }

    fn mine(&self, timestamp: u64) -> Call {
        Call::new("dev_mine", json!({ "timestamp": timestamp }))
    }

    /// One block more than before: on most chains the longer branch wins.
    fn reorg(&self, depth: u64, carried: &[Transfer]) -> anyhow::Result<Call> {
        let contents: Vec<_> = carried.iter().map(|transfer| json!({ "new": direct(transfer) })).collect();
        let mut blocks = vec![json!({ "contents": contents })];
        blocks.extend((0..depth).map(|_| json!({})));
        Ok(Call::new("dev_reorg", json!({ "depth": depth, "blocks": blocks })))
    }
}

fn direct(transfer: &Transfer) -> Value {
    json!({ "kind": "direct", "token": transfer.token, "from": PAYER, "to": transfer.to, "value": units(transfer) })
}

fn units(transfer: &Transfer) -> String {
    format!("{:#x}", transfer.units)
}

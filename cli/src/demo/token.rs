//! Calls of the test contracts, encoded for the EVM (<https://docs.soliditylang.org/en/latest/abi-spec.html>): the token of
//! `tests/contracts/Token.sol`, and the router that makes several payments in one transaction.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::chain::Transfer;

const TOKEN: &str = include_str!("../../../tests/contracts/Token.json");
const ROUTER: &str = include_str!("../../../tests/contracts/Router.json");

/// Bytes of a word.
const WORD: usize = 32;

/// A compiled contract.
#[derive(Deserialize)]
pub(super) struct Contract {
    bytecode: String,
    /// By signature.
    selectors: BTreeMap<String, String>,
}

impl Contract {
    /// The test token.
    pub(super) fn token() -> anyhow::Result<Self> {
        serde_json::from_str(TOKEN).context("the test token in this program cannot be read")
    }

    /// The router.
    pub(super) fn router() -> anyhow::Result<Self> {
        serde_json::from_str(ROUTER).context("the router in this program cannot be read")
    }

    /// The code that creates the contract, before its constructor's arguments.
    pub(super) fn creation(&self) -> &str {
        &self.bytecode
    }

    /// The data of a call: the function's selector and its encoded arguments.
    pub(super) fn call(&self, signature: &str, arguments: &[String]) -> anyhow::Result<String> {
        let selector = self.selectors.get(signature);
        let selector = selector.with_context(|| format!("the test contract has no function {signature}"))?;
        Ok(format!("{selector}{}", arguments.concat()))
    }
}

/// The constructor's arguments of a token with this name and symbol.
pub(super) fn token_arguments(name: &str, symbol: &str, decimals: u8) -> anyhow::Result<String> {
    // The texts stand behind three words: where the name is, where the symbol is, and the decimals.
    Ok([number(3 * 32), number(5 * 32), number(decimals.into()), text(name)?, text(symbol)?].concat())
}

/// The arguments of `pay`: a list of (token, to, value).
pub(super) fn payments(transfers: &[Transfer]) -> anyhow::Result<Vec<String>> {
    let mut words = vec![number(32), number(u128::try_from(transfers.len())?)];
    for transfer in transfers {
        words.extend([address(&transfer.token)?, address(&transfer.to)?, number(transfer.units)]);
    }
    Ok(words)
}

/// A number as a word.
pub(super) fn number(value: u128) -> String {
    format!("{value:064x}")
}

/// An address as a word.
pub(super) fn address(text: &str) -> anyhow::Result<String> {
    let digits = text.strip_prefix("0x").unwrap_or(text).to_lowercase();
    if digits.len() != 40 || hex::decode(&digits).is_err() {
        bail!("`{text}` is not an address");
    }
    Ok(format!("{digits:0>64}"))
}

/// A text of at most one word: its length and its bytes.
fn text(value: &str) -> anyhow::Result<String> {
    if value.len() > WORD {
        bail!("`{value}` is longer than {WORD} bytes");
    }
    Ok(format!("{}{:0<64}", number(u128::try_from(value.len())?), hex::encode(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_encoded_as_wallets_do() {
        let arguments = [address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8").unwrap(), number(12_500_000)];
        let data = Contract::token().unwrap().call("transfer(address,uint256)", &arguments).unwrap();
        let expect = "0xa9059cbb00000000000000000000000070997970c51812dc3a010c7d01b50e0d17dc79c8\
                      0000000000000000000000000000000000000000000000000000000000bebc20";
        assert_eq!(data, expect);
    }

    #[test]
    fn what_is_no_address_or_function_is_refused() {
        assert!(address("0x12").is_err() && address(&"z".repeat(40)).is_err());
        assert!(Contract::router().unwrap().call("steal()", &[]).is_err());
    }
}

"""Deploys and moves the test token on a running anvil, through its unlocked accounts.

Every command prints one JSON object. A transaction is waited for; one that reverts is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parent.parent / "contracts"
RECEIPT_WAIT_S = 30


class Node:
    """JSON-RPC to a node on this machine."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise SystemExit(f"anvil_token: {url} is not an address of this machine")
        self.url = url

    def call(self, method: str, *params: object) -> Any:
        """The result of one call; an error answer ends the program with its message."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            reply = json.load(answer)
        if "error" in reply:
            raise SystemExit(f"anvil_token: {method}: {reply['error']['message']}")
        return reply["result"]

    def send(self, sender: str, to: str | None, data: str) -> dict[str, Any]:
        """Sends a transaction from an unlocked account and waits for its receipt."""
        transaction = {"from": sender, "data": data} | ({"to": to} if to else {})
        tx_hash = self.call("eth_sendTransaction", transaction)
        receipt = self.receipt(tx_hash)
        if receipt["status"] != "0x1":
            raise SystemExit(f"anvil_token: transaction {tx_hash} reverted")
        return receipt

    def receipt(self, tx_hash: str) -> dict[str, Any]:
        """Waits until a transaction is in a block: the node answers a send before it has mined."""
        deadline = time.monotonic() + RECEIPT_WAIT_S
        while time.monotonic() < deadline:
            receipt = self.call("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                return dict(receipt)
            time.sleep(0.05)
        raise SystemExit(f"anvil_token: no receipt of {tx_hash} within {RECEIPT_WAIT_S} s; is the node mining?")


def word(value: int | str) -> str:
    """One 32-byte ABI word: a number, or an address."""
    number = int(value, 16) if isinstance(value, str) else value
    return f"{number:064x}"


def text(value: str) -> str:
    """The ABI tail of a string: its length, then its bytes padded to whole words."""
    raw = value.encode()
    return word(len(raw)) + raw.hex().ljust(-(-len(raw) // 32) * 64, "0")


def creation_code(name: str, symbol: str, decimals: int) -> str:
    """The token's bytecode with its constructor arguments (string, string, uint8)."""
    tails = [text(name), text(symbol)]
    second = 3 * 32 + len(tails[0]) // 2
    return str(artifact()["bytecode"]) + word(3 * 32) + word(second) + word(decimals) + "".join(tails)


def call_data(signature: str, *values: int | str) -> str:
    """A call of a function of the token whose arguments are all one word."""
    return str(artifact()["selectors"][signature]) + "".join(word(value) for value in values)


def artifact() -> dict[str, Any]:
    """The committed output of Token.sol."""
    return dict(json.loads((CONTRACTS / "Token.json").read_text()))


def run(args: argparse.Namespace) -> dict[str, object]:
    """Carries out one command."""
    node = Node(args.rpc)
    if args.command == "reorg":
        node.call("anvil_reorg", args.depth, [])
        return {"head": node.call("eth_blockNumber")}
    if args.command == "balance":
        data = call_data("balanceOf(address)", args.holder)
        return {"balance": str(int(node.call("eth_call", {"to": args.token, "data": data}, "latest"), 16))}
    sender = args.sender or node.call("eth_accounts")[0]
    if args.command == "deploy":
        receipt = node.send(sender, None, creation_code(args.name, args.symbol, args.decimals))
        return {"address": receipt["contractAddress"], "owner": sender, "block": receipt["blockNumber"]}
    data = call_data(f"{args.command}(address,uint256)", args.to, args.value)
    receipt = node.send(sender, args.token, data)
    return {"tx_hash": receipt["transactionHash"], "block": receipt["blockNumber"]}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--rpc", default="http://127.0.0.1:8545", help="the node (default %(default)s)")
    common.add_argument("--sender", help="an unlocked account (default: the node's first)")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example: anvil_token.py deploy --symbol USDC --decimals 6")
    commands = parser.add_subparsers(dest="command", required=True)
    deploy = commands.add_parser("deploy", parents=[common], help="deploy a token, print its address")
    deploy.add_argument("--name", default="Test Dollar")
    deploy.add_argument("--symbol", default="USDC")
    deploy.add_argument("--decimals", type=int, default=6)
    for command, what in (("mint", "create units (as the owner)"), ("transfer", "move units of the sender")):
        move = commands.add_parser(command, parents=[common], help=what)
        move.add_argument("token")
        move.add_argument("to")
        move.add_argument("value", type=int, help="smallest units")
    balance = commands.add_parser("balance", parents=[common], help="units of a holder")
    balance.add_argument("token")
    balance.add_argument("holder")
    reorg = commands.add_parser("reorg", parents=[common], help="replace the newest blocks by empty ones")
    reorg.add_argument("depth", type=int)
    return parser


def main() -> int:
    """Runs the command line."""
    print(json.dumps(run(arguments().parse_args())))
    return 0


if __name__ == "__main__":
    sys.exit(main())

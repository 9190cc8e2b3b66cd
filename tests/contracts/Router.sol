// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The one function of an ERC-20 token that a router needs.
interface IToken {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// @title Pays through a contract, so that a transaction's `to` is not the token.
/// @notice Spends the caller's allowance. A reader that looks at transactions and not at logs misses these
/// payments, or counts ones that were undone.
contract Router {
    struct Payment {
        IToken token;
        address to;
        uint256 value;
    }

    error TransferRefused();
    error Undone();
    error OnlyItself();

    /// @notice Makes every payment in order within one transaction; if one fails, all are undone.
    function pay(Payment[] calldata payments) external {
        for (uint256 i = 0; i < payments.length; ++i) {
            _pay(msg.sender, payments[i]);
        }
    }

    /// @notice Makes the payment and then reverts: the transaction fails, and its receipt has no logs.
    function payAndRevert(Payment calldata payment) external {
        _pay(msg.sender, payment);
        revert Undone();
    }

    /// @notice Makes `lost` in an inner call that reverts, then `kept`: the transaction succeeds with `kept` alone.
    function payAfterLostCall(Payment calldata lost, Payment calldata kept) external {
        try this.undone(msg.sender, lost) {
            assert(false); // `undone` always reverts.
        } catch {}
        _pay(msg.sender, kept);
    }

    /// @notice The inner call of `payAfterLostCall`. Always reverts.
    function undone(address payer, Payment calldata payment) external {
        if (msg.sender != address(this)) revert OnlyItself();
        _pay(payer, payment);
        revert Undone();
    }

    function _pay(address payer, Payment calldata payment) private {
        if (!payment.token.transferFrom(payer, payment.to, payment.value)) revert TransferRefused();
    }
}

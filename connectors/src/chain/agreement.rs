//! What several nodes together say of the chain: which head is believed, how far finality has come, and which transfers
//! outside the receipts root count. Pure. A block's contents need no vote, they recompute; that it is *the chain's* block
//! does not follow from its hash, so one node alone is not believed while another contradicts it.
//!
//! | said about a head, the claimant's own word included | taken |
//! |---|---|
//! | fewer nodes than `agreement` agree | no: it is waited for the others |
//! | more agree than contradict it or are behind it, together | yes, and those who contradict are outvoted |
//! | more contradict than agree | no, and those who agree are outvoted |
//! | as many contradict as agree | no: nobody can tell who is right |
//! | others are behind it | no: it is waited for them, since a node that runs ahead alone may have invented what it says |
//!
//! A node that has not answered for long, or was found lying, has no say; one that fell silent a
//! moment ago counts as behind, so that a short failure of one node does not leave another alone with its word. One that has
//! stood still behind the others has none either, as long as no more nodes stand still than agree: where most stand still, it
//! is the chain that does, and who goes on invents. With `agreement = 1` a single reachable node is
//! enough; with 2 a chain waits rather than go on with one.

use super::types::{BlockRef, Erc20Transfer};

/// What one node says about the block that another named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opinion {
    /// It is canonical.
    Agrees,
    /// Another block is canonical at its height.
    Contradicts,
    /// It has not come so far.
    Behind,
    /// It has not come so far and has not moved for long.
    StandsStill,
    /// It cannot be asked.
    Silent,
}

/// Whether a head is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Believed,
    /// It is not taken, since more nodes contradict it than agree.
    Outvoted,
    /// It is not taken yet: as many contradict it as agree.
    Contested,
    /// It is not taken yet: the others are behind it.
    Ahead,
    /// It is not taken yet: too few nodes have been heard.
    TooFew,
}

/// Decides about a head that one node claims; `opinions` are the others'.
pub fn judge(agreement: usize, opinions: impl IntoIterator<Item = Opinion>) -> Verdict {
    let (mut agree, mut contradict, mut behind, mut still) = (1_usize, 0_usize, 0_usize, 0_usize);
    for opinion in opinions {
        let count = match opinion {
            Opinion::Agrees => &mut agree,
            Opinion::Contradicts => &mut contradict,
            Opinion::Behind => &mut behind,
            Opinion::StandsStill => &mut still,
            Opinion::Silent => continue,
        };
        *count = count.saturating_add(1);
    }
    if still > agree {
        behind = behind.saturating_add(still);
    }
    match agree.cmp(&contradict) {
        std::cmp::Ordering::Less => Verdict::Outvoted,
        std::cmp::Ordering::Equal => Verdict::Contested,
        std::cmp::Ordering::Greater if agree < agreement => Verdict::TooFew,
        std::cmp::Ordering::Greater if agree > contradict.saturating_add(behind) => Verdict::Believed,
        std::cmp::Ordering::Greater => Verdict::Ahead,
    }
}

/// The highest block such that as many nodes as must agree, and more than half of those that have a say, say that the chain
/// is final there or above: one node cannot hurry finality on. `silent` is how many have a say and did not answer. `None`
/// when too few have answered.
pub fn agreed_finality<S: Copy>(
    agreement: usize,
    answers: &[(S, BlockRef)],
    silent: usize,
) -> Option<(S, BlockRef)> {
    let mut sorted = answers.to_vec();
    sorted.sort_by_key(|(_, block)| std::cmp::Reverse(block.number));
    let needed = agreement.max(sorted.len().saturating_add(silent) / 2 + 1);
    sorted.get(needed.checked_sub(1)?).copied()
}

/// Sorts transfers outside the receipts root into those that both nodes sent alike and those that one of them alone did.
pub fn agreed_transfers(
    first: Vec<Erc20Transfer>,
    second: &[Erc20Transfer],
) -> (Vec<Erc20Transfer>, Vec<Erc20Transfer>) {
    let (both, mut one) = first.into_iter().partition::<Vec<_>, _>(|transfer| second.contains(transfer));
    one.extend(second.iter().filter(|transfer| !both.contains(transfer)).cloned());
    (both, one)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, TxHash, U256, keccak256};

    use super::{Opinion, Verdict, agreed_finality, agreed_transfers, judge};
    use crate::chain::types::{BlockRef, Erc20Transfer};

    fn verdict(agreement: usize, others: &str) -> Verdict {
        judge(
            agreement,
            others.chars().map(|said| match said {
                '+' => Opinion::Agrees,
                '-' => Opinion::Contradicts,
                '<' => Opinion::Behind,
                '_' => Opinion::StandsStill,
                _ => Opinion::Silent,
            }),
        )
    }

    #[test]
    fn a_head_is_believed_as_the_table_says() {
        for (agreement, others, expected) in [
            (1, "", Verdict::Believed),
            (1, "..", Verdict::Believed),
            (1, "-", Verdict::Contested),
            (1, "+-", Verdict::Believed),
            (1, "--", Verdict::Outvoted),
            (1, "-.", Verdict::Contested),
            (1, "<", Verdict::Ahead),
            (1, "<<", Verdict::Ahead),
            (1, "+<", Verdict::Believed),
            (1, "+<-", Verdict::Ahead),
            (1, "<-", Verdict::Contested),
            (1, "_", Verdict::Believed),
            (1, "__", Verdict::Ahead),
            (1, "+__", Verdict::Believed),
            (1, "+___", Verdict::Ahead),
            (2, "_", Verdict::TooFew),
            (2, "..", Verdict::TooFew),
            (2, "+.", Verdict::Believed),
            (2, "+-", Verdict::Believed),
            (2, "+--", Verdict::Contested),
            (3, "+-", Verdict::TooFew),
        ] {
            assert_eq!(verdict(agreement, others), expected, "{agreement} {others:?}");
        }
    }

    #[test]
    fn finality_is_what_more_than_half_say() {
        let agreed = |agreement, heights: &[u64]| {
            let answers: Vec<_> = heights
                .iter()
                .map(|number| ((), BlockRef { number: *number, hash: keccak256(number.to_be_bytes()) }))
                .collect();
            agreed_finality(agreement, &answers, 0).map(|((), block)| block.number)
        };
        assert_eq!(agreed(1, &[]), None);
        assert_eq!(agreed(1, &[7]), Some(7));
        assert_eq!(agreed(1, &[900, 7]), Some(7), "one node alone does not hurry it on");
        assert_eq!(agreed(1, &[900, 7, 9]), Some(9), "and one alone does not hold it back");
        assert_eq!(agreed(2, &[7]), None);
        assert_eq!(agreed(3, &[7, 8, 9]), Some(7));
        let alone = [((), BlockRef { number: 900, hash: keccak256(b"900") })];
        assert_eq!(agreed_finality(1, &alone, 1), None, "nor while the other fails for a moment");
    }

    #[test]
    fn a_transfer_that_one_node_alone_vouches_for_is_set_apart() {
        let transfer = |value: u64| Erc20Transfer {
            token: Address::ZERO,
            from: Address::ZERO,
            to: Address::ZERO,
            value: U256::from(value),
            tx_hash: TxHash::ZERO,
            tx_index: 0,
            log_index: value,
            tx_to: None,
        };
        let sent = |values: &[u64]| values.iter().map(|value| transfer(*value)).collect::<Vec<_>>();
        assert_eq!(agreed_transfers(sent(&[1, 2]), &sent(&[2, 3])), (sent(&[2]), sent(&[1, 3])));
        assert_eq!(agreed_transfers(sent(&[1]), &sent(&[1])), (sent(&[1]), sent(&[])));
    }
}

//! `registry`: the one place where merchants, API keys, webhook endpoints and the operator's settings are decided.
//!
//! It guarantees: what it says on `registry.events` is the whole truth in order, so a reader that starts at the
//! beginning ends with the current state; a book hears of its merchant and endpoints, and every book and chain of the
//! settings, before anything that follows in this log; the same request, or the same idempotency key, changes things
//! once and is answered alike for 24 hours; a command that breaks a rule changes nothing and its answer names the field
//! and the remedy, and where nobody waits for an answer it becomes a dead letter.
//!
//! Every command states a thing as it shall be. One that changes nothing says nothing, but is answered. Secrets pass
//! through sealed; keys are hashes. State grows with merchants, keys and endpoints, whose live numbers are limited for
//! each merchant, and forgets requests after a day.

mod counts;
mod endpoints;
mod keys;
mod merchants;
mod requests;
mod settings;
mod tiers;
mod verdict;

use serde::Serialize;
use streambook_model::{
    message::Message,
    position::Partition,
    records::{
        registry::{Administrator, PutApiKey, PutEndpoint, PutMerchant},
        reply::{CommandOutcome, CommandReply},
    },
    topics::{self, TopicDef},
};
use streambook_runtime::processor::{Context, Fault, Processor};

use self::{
    requests::Earlier,
    verdict::{No, Refused, Stored},
};

/// The processor of `registry.inbox`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registry;

impl Processor for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn inbox(&self) -> TopicDef {
        topics::REGISTRY_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        match message {
            Message::PutMerchant(PutMerchant { administrator, merchant, .. }) => {
                administer(context, &administrator, &merchant, |context| merchants::put(context, &merchant))
            }
            Message::PutApiKey(PutApiKey { administrator, api_key, .. }) => {
                administer(context, &administrator, &api_key, |context| {
                    keys::put(context, &administrator, &api_key)
                })
            }
            Message::PutEndpoint(PutEndpoint { administrator, endpoint, .. }) => {
                administer(context, &administrator, &endpoint, |context| endpoints::put(context, &endpoint))
            }
            Message::PutSettings(put) => settings::put(context, put.settings),
            // It sets no timers; an owner may append ticks all the same.
            Message::Tick(_) => Ok(()),
            other => Err(Fault::dead_letter(
                "unexpected_record",
                format!("`{}` has no business in registry.inbox: append it to its own topic", other.name()),
            )),
        }
    }
}

/// Carries a command out once and answers it.
fn administer<'s>(
    context: &mut Context<'s>,
    administrator: &Administrator,
    content: &impl Serialize,
    put: impl FnOnce(&mut Context<'s>) -> Result<Stored, No>,
) -> Result<(), Fault> {
    check_reply(administrator)?;
    requests::prune(context)?;
    let content_hash = requests::hash(content)?;
    match requests::earlier(context, administrator, content_hash)? {
        Earlier::Never => {}
        Earlier::Same(stored) => {
            return answer(context, administrator, CommandOutcome::Replayed, Some(stored), None);
        }
        Earlier::Other(refused) => return refuse(context, administrator, refused),
    }
    match put(context) {
        Ok(stored) => {
            requests::remember(context, administrator, content_hash, &stored)?;
            answer(context, administrator, CommandOutcome::Accepted, Some(stored), None)
        }
        Err(No::Refused(refused)) => refuse(context, administrator, refused),
        Err(No::Fault(fault)) => Err(fault),
    }
}

/// An answer to a partition that does not exist could never be sent.
fn check_reply(administrator: &Administrator) -> Result<(), Fault> {
    match administrator.reply {
        Some(reply) if reply.partition >= topics::API_REPLIES.partitions => Err(Fault::dead_letter(
            "unknown_reply_partition",
            format!(
                "api.replies has no partition {}; answer through 0 to {}",
                reply.partition,
                topics::API_REPLIES.partitions - 1
            ),
        )),
        _ => Ok(()),
    }
}

fn refuse(context: &mut Context<'_>, administrator: &Administrator, refused: Refused) -> Result<(), Fault> {
    if administrator.reply.is_none() {
        return Err(Fault::dead_letter(refused.code, refused.detail));
    }
    answer(context, administrator, CommandOutcome::Rejected, None, Some(refused))
}

fn answer(
    context: &mut Context<'_>,
    administrator: &Administrator,
    outcome: CommandOutcome,
    stored: Option<Stored>,
    refused: Option<Refused>,
) -> Result<(), Fault> {
    let Some(to) = administrator.reply else { return Ok(()) };
    let mut reply = CommandReply {
        meta: context.meta(context.now()),
        request: to.request,
        outcome,
        problem: refused.map(Refused::into_problem),
        payment: None,
        refund: None,
        merchant: None,
        api_key: None,
        endpoint: None,
    };
    match stored {
        Some(Stored::Merchant(merchant)) => reply.merchant = Some(merchant),
        Some(Stored::ApiKey(api_key)) => reply.api_key = Some(api_key),
        Some(Stored::Endpoint(endpoint)) => reply.endpoint = Some(endpoint),
        None => {}
    }
    context.emit_to(topics::API_REPLIES, Partition(to.partition), to.request.to_string(), reply);
    Ok(())
}

#[cfg(test)]
mod tests;

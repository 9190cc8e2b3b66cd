//! A command on its way: appended to its inbox, answered when its reply is on disk.
//!
//! Until the append nothing has happened. After it the command will be carried out, whatever becomes of the caller: a reply
//! that does not come in time is `202` and where to look, never an error.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use streambook_model::{
    id::{ApiKeyId, MerchantId, RequestId},
    message::Message,
    meta::Meta,
    position::Offset,
    records::{
        book::{Caller, Idempotency, ReplyTo},
        registry::Administrator,
        reply::{CommandOutcome, CommandReply},
    },
    topics::{BOOK_INBOX, REGISTRY_INBOX, TopicDef},
};
use streambook_runtime::step::chain_of;
use streambook_sinks::sql::Scope;

use crate::{
    context::RequestContext,
    position::{POSITION, Position, shard},
    problem::Problem,
    state::ApiState,
};

/// The header that says that an earlier request with the same idempotency key was carried out.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How a command stands when its caller is answered.
pub(crate) enum Answer {
    /// It was carried out, and that is on disk.
    Done(Box<Done>),
    /// It is on its way.
    Pending(Option<Position>),
}

/// A command that was carried out.
pub(crate) struct Done {
    /// What the book or the registry said.
    pub(crate) reply: CommandReply,
    /// Whether it was carried out by an earlier request.
    pub(crate) replayed: bool,
    /// Where it stands, for reads that must see it.
    position: Option<Position>,
}

impl ApiState {
    /// What a command's record says about itself.
    pub(crate) fn meta(&self, context: &RequestContext) -> Meta {
        let now = self.now();
        Meta {
            source: None,
            id: context.id.to_string(),
            occurred_at: now,
            recorded_at: now,
            cause: None,
            trace: Some(context.trace.clone()),
        }
    }

    /// Who asks the book.
    pub(crate) fn caller(
        &self,
        scope: Scope,
        request: RequestId,
        idempotency: Option<Idempotency>,
    ) -> Caller {
        Caller {
            merchant: scope.merchant,
            livemode: scope.livemode,
            reply: self.reply_to(request),
            idempotency,
        }
    }

    /// Who asks the registry.
    pub(crate) fn administrator(
        &self,
        key: ApiKeyId,
        request: RequestId,
        idempotency: Option<Idempotency>,
    ) -> Administrator {
        Administrator { key: Some(key), reply: Some(self.reply_to(request)), idempotency }
    }

    fn reply_to(&self, request: RequestId) -> ReplyTo {
        ReplyTo { partition: self.instance().0, request }
    }

    /// Asks a merchant's book.
    pub(crate) async fn ask_book(
        &self,
        merchant: MerchantId,
        request: RequestId,
        command: impl Into<Message>,
    ) -> Result<Answer, Problem> {
        let key = merchant.to_string();
        let (offset, reply) = self.ask(BOOK_INBOX, key.as_bytes(), request, command.into()).await?;
        let position = Position { partition: shard(merchant), offset };
        let Some(reply) = reply else { return Ok(Answer::Pending(Some(position))) };
        let done = done(reply, Some(position))?;
        if !done.replayed {
            self.last_positions().remember(merchant, offset);
        }
        Ok(Answer::Done(Box::new(done)))
    }

    /// Asks the registry, and waits until this instance sees what followed, so that a new key works at once.
    pub(crate) async fn ask_registry(
        &self,
        key: &str,
        request: RequestId,
        command: impl Into<Message>,
    ) -> Result<Answer, Problem> {
        let (offset, reply) = self.ask(REGISTRY_INBOX, key.as_bytes(), request, command.into()).await?;
        let Some(reply) = reply else { return Ok(Answer::Pending(None)) };
        let done = done(reply, None)?;
        let seen = done.replayed || self.registry().shows(&done.reply);
        if !seen && !self.registry().wait_for(offset, self.config().read_wait()).await {
            tracing::warn!(%offset, "the registry's view is behind its replies");
        }
        Ok(Answer::Done(Box::new(done)))
    }

    /// Appends, and waits for the reply; `None` when it does not come in time.
    async fn ask(
        &self,
        inbox: TopicDef,
        key: &[u8],
        request: RequestId,
        command: Message,
    ) -> Result<(Offset, Option<CommandReply>), Problem> {
        let mut waiter = self.waiters().register(request)?;
        let published = self.publisher().publish(inbox, key, command).await.map_err(|error| {
            tracing::error!(error = chain_of(&error), "a command was not appended");
            let detail = "the log does not take commands, so nothing was done: try again, or watch /readyz";
            Problem::unavailable("log_unavailable", detail)
        })?;
        let reply = tokio::time::timeout(self.config().reply_timeout(), waiter.reply()).await;
        Ok((published.appended.base, reply.ok().flatten()))
    }
}

fn done(reply: CommandReply, position: Option<Position>) -> Result<Done, Problem> {
    match reply.outcome {
        CommandOutcome::Accepted => Ok(Done { reply, replayed: false, position }),
        // The consequences are older than this command, so there is no position to wait for.
        CommandOutcome::Replayed => Ok(Done { reply, replayed: true, position: None }),
        CommandOutcome::Rejected => Err(reply.problem.map_or_else(no_object, Problem::rejected)),
    }
}

/// The problem of a reply that lacks what it must hold.
pub(crate) fn no_object() -> Problem {
    let detail = "the reply to the command is not complete; the server's log has the request's id";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
}

impl Done {
    /// Adds what the answer says about the command.
    pub(crate) fn respond(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        let headers = response.headers_mut();
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some(position) = self.position.and_then(Position::header) {
            headers.insert(POSITION, position);
        }
        response
    }
}

/// `202`: the command is in the log, its answer has not come. `look` is where its result will be.
pub(crate) fn pending(position: Option<Position>, look: &str) -> Response {
    let detail = "the command is recorded and will be carried out; its answer has not come in time. Look there, or send \
                  the request again with the same Idempotency-Key";
    let body =
        json!({ "object": "accepted_command", "status": "accepted", "location": look, "detail": detail });
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(location) = HeaderValue::from_str(look) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(position) = position.and_then(Position::header) {
        response.headers_mut().insert(POSITION, position);
    }
    response
}

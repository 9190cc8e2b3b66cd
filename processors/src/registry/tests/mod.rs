//! What an administrator asks, what the registry says, and what it answers.

mod endpoints;
mod keys;
mod merchants;
mod requests;
mod settings;

use streambook_model::{
    bytes::ContentHash,
    id::{ApiKeyId, EndpointId, MerchantId, RequestId},
    message::Message,
    position::{Partition, TopicPartition},
    records::{
        book::{Idempotency, ReplyTo},
        dead_letter::DeadLetter,
        registry::{
            Administrator, ApiKey, Endpoint, Merchant, PutApiKey, PutEndpoint, PutMerchant, Scope,
            SealedSecret,
        },
        reply::{CommandOutcome, CommandReply},
    },
    time::Timestamp,
};

use super::Registry;
use crate::testing::Bench;

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 60 * 60 * 1_000;
/// The partition of `api.replies` that waits in the tests.
const WAITING: u16 = 5;

fn merchant(name: &str) -> Merchant {
    Merchant {
        id: MerchantId::derive(&[name.as_bytes()]),
        name: name.into(),
        settlement: "custodial".into(),
        created_at: Timestamp::from_millis(START),
        addresses: Vec::new(),
        tolerance: None,
    }
}

fn key(name: &str) -> ApiKey {
    ApiKey {
        id: ApiKeyId::derive(&[name.as_bytes()]),
        merchant: Some(merchant("shop").id),
        scopes: vec![Scope::Read, Scope::Write],
        livemode: false,
        key_hash: ContentHash::new([1; 32]),
        hint: "abcd".into(),
        created_at: Timestamp::from_millis(START),
        revoked_at: None,
    }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        id: EndpointId::derive(&[name.as_bytes()]),
        merchant: merchant("shop").id,
        livemode: false,
        url: format!("https://shop.example/{name}"),
        events: vec!["payment.completed".into()],
        secrets: vec![SealedSecret { nonce: vec![7; 24], ciphertext: vec![0, 9, 255] }],
        disabled: None,
        created_at: Timestamp::from_millis(START),
        deleted_at: None,
    }
}

/// What a command led to.
struct Outcome {
    /// What was said: destination and record, in order, answers and dead letters apart.
    said: Vec<(TopicPartition, Message)>,
    reply: Option<CommandReply>,
    letter: Option<DeadLetter>,
}

impl Outcome {
    fn topics(&self) -> Vec<&str> {
        self.said.iter().map(|(to, _)| to.topic.as_str()).collect()
    }

    #[track_caller]
    fn accepted(self) -> CommandReply {
        let reply = self.reply.expect("an answer");
        assert_eq!(reply.outcome, CommandOutcome::Accepted, "{:?}", reply.problem);
        reply
    }

    /// Asserts that it was refused, changing nothing, with this code, status and field.
    #[track_caller]
    fn refused(self, code: &str, status: u16, field: Option<&str>) {
        let reply = self.reply.expect("an answer");
        assert_eq!(reply.outcome, CommandOutcome::Rejected);
        let problem = reply.problem.expect("a problem");
        assert_eq!((problem.code.as_str(), problem.status, problem.field.as_deref()), (code, status, field));
        assert!(!problem.detail.is_empty());
        assert!(self.said.is_empty(), "{:?}", self.said);
        assert!(reply.merchant.is_none() && reply.api_key.is_none() && reply.endpoint.is_none());
    }
}

/// The registry, and an administrator who waits for answers.
struct Scene {
    bench: Bench<'static>,
    administrator: Administrator,
}

impl Scene {
    fn new() -> Self {
        let mut bench = Bench::new(&Registry, 0);
        bench.at(START);
        let reply = Some(ReplyTo { partition: WAITING, request: RequestId::derive(&[b"request"]) });
        Self { bench, administrator: Administrator { key: None, reply, idempotency: None } }
    }

    /// With a merchant, whose name is `shop`.
    fn with_shop() -> Self {
        let mut scene = Self::new();
        scene.merchant(&merchant("shop")).accepted();
        scene
    }

    fn idempotent(&mut self, key: &str, hash: u8) {
        let request_hash = ContentHash::new([hash; 32]);
        self.administrator.idempotency = Some(Idempotency { key: key.into(), request_hash });
    }

    fn merchant(&mut self, merchant: &Merchant) -> Outcome {
        let (meta, administrator) = (self.bench.meta(), self.administrator.clone());
        self.twice(PutMerchant { meta, administrator, merchant: merchant.clone() })
    }

    fn key(&mut self, api_key: &ApiKey) -> Outcome {
        let (meta, administrator) = (self.bench.meta(), self.administrator.clone());
        self.twice(PutApiKey { meta, administrator, api_key: api_key.clone() })
    }

    fn endpoint(&mut self, endpoint: &Endpoint) -> Outcome {
        let (meta, administrator) = (self.bench.meta(), self.administrator.clone());
        self.twice(PutEndpoint { meta, administrator, endpoint: endpoint.clone() })
    }

    /// Feeds a record twice, as an API that was not sure would append it. The repeat must change nothing and be
    /// answered alike.
    fn twice(&mut self, message: impl Into<Message>) -> Outcome {
        let message = message.into();
        let first = self.feed(message.clone());
        let again = self.feed(message);
        assert!(again.said.is_empty(), "a repeat said {:?}", again.said);
        assert_eq!(again.letter.as_ref().map(|l| &l.code), first.letter.as_ref().map(|l| &l.code));
        match (&first.reply, &again.reply) {
            (Some(first), Some(again)) => {
                assert_eq!(first.problem, again.problem);
                assert_eq!((&first.merchant, &first.api_key), (&again.merchant, &again.api_key));
                assert_eq!(first.endpoint, again.endpoint);
                let replayed = first.outcome != CommandOutcome::Rejected;
                assert_eq!(again.outcome == CommandOutcome::Replayed, replayed);
            }
            (first, again) => assert_eq!(first.is_some(), again.is_some()),
        }
        first
    }

    fn feed(&mut self, message: impl Into<Message>) -> Outcome {
        let mut outcome = Outcome { said: Vec::new(), reply: None, letter: None };
        for (to, message) in self.bench.feed(message) {
            match message {
                Message::CommandReply(reply) => {
                    assert_eq!((to.topic.as_str(), to.partition), ("api.replies", Partition(WAITING)));
                    assert_eq!(reply.request, RequestId::derive(&[b"request"]));
                    assert!(outcome.reply.replace(reply).is_none(), "answered twice");
                }
                Message::DeadLetter(letter) => outcome.letter = Some(letter),
                other => outcome.said.push((to, other)),
            }
        }
        outcome
    }
}

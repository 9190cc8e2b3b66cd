//! Dead letters that dedup writes itself: for an event that was on hold, and for money that moved in a way the books
//! have no fact for while the rest of its event was booked.

use streambook_model::{
    codec, id::DeadLetterId, message::Message, meta::Cause, records::dead_letter::DeadLetter, topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::booked::Origin;

/// The offset of the record that is being taken.
pub(super) fn offset(context: &Context<'_>) -> u64 {
    context.meta(context.now()).cause.map_or(0, |cause| cause.offset)
}

/// Writes a dead letter about an event; `about` tells apart several letters about one event.
pub(super) fn write(
    context: &mut Context<'_>,
    origin: &Origin<'_>,
    code: &'static str,
    reason: String,
    about: &str,
) -> Result<(), Fault> {
    let record = codec::encode(&Message::from(origin.event.clone()))
        .map_err(|error| Fault::Stop(format!("{} cannot be encoded again: {error}", origin.event.event)))?;
    let partition = context.partition().0;
    let task = format!("dedup/{partition}");
    let mut meta = context.meta(origin.event.created);
    meta.cause = Some(Cause { partition, offset: origin.offset });
    let letter = DeadLetter {
        meta,
        letter: DeadLetterId::derive(&[
            task.as_bytes(),
            &origin.offset.to_be_bytes(),
            code.as_bytes(),
            about.as_bytes(),
        ]),
        task: task.clone(),
        topic: topics::STRIPE_INBOX.name.to_owned(),
        partition,
        offset: origin.offset,
        code: code.to_owned(),
        reason,
        key: origin.event.family.clone().into_bytes(),
        record,
    };
    context.emit(topics::DEAD_LETTERS, task, letter);
    Ok(())
}

//! API keys. A key is added once and revoked once; everything else about it is fixed, so that what a key could do at
//! any time can be read from its two records.

use streambook_model::{
    id::ApiKeyId,
    records::registry::{Administrator, ApiKey, ApiKeyChanged, Scope},
    topics,
};
use streambook_runtime::{processor::Context, table::Table};

use super::{
    counts::{self, Change, Counted, Life},
    merchants,
    verdict::{No, Refused, Stored},
};

const KEYS: Table<ApiKey> = Table::new(5);
/// Whose keys are counted that are no merchant's.
const OPERATOR: &str = "operator";

/// Adds or revokes a key.
pub(super) fn put(
    context: &mut Context<'_>,
    administrator: &Administrator,
    wanted: &ApiKey,
) -> Result<Stored, No> {
    let known = KEYS.get(&context.state, wanted.id)?;
    let key = match &known {
        Some(known) => changed(known, wanted)?,
        None => {
            only_one_first(context, administrator, wanted)?;
            checked(context, wanted)?
        }
    };
    if known.as_ref() != Some(&key) {
        limit(context, known.as_ref(), &key)?;
        KEYS.put(&mut context.state, key.id, &key)?;
        let record = ApiKeyChanged { meta: context.meta(context.now()), api_key: key.clone() };
        context.emit(topics::REGISTRY_EVENTS, key.id.to_string(), record);
    }
    Ok(Stored::ApiKey(key))
}

/// An operator's key that no administrator asked for is the first one, which a start makes. Two processes that start at the same
/// time on an empty log both make one: the log's order decides.
fn only_one_first(context: &Context<'_>, administrator: &Administrator, key: &ApiKey) -> Result<(), No> {
    let is_first = administrator.key.is_none() && administrator.reply.is_none() && key.merchant.is_none();
    if is_first && counts::live(context, Counted::ApiKeys, OPERATOR)? > 0 {
        let detail = "there is an operator's key already: two processes that keep partition 0 were started on an empty log; the \
                      one that was first has shown its key";
        return Err(Refused::conflict("first_key_exists", None, detail).into());
    }
    Ok(())
}

fn checked(context: &Context<'_>, key: &ApiKey) -> Result<ApiKey, No> {
    if key.scopes.is_empty() {
        let detail = "a key without scopes can do nothing: give it `read`, `write` or `refund`";
        return Err(Refused::invalid("scopes_missing", "scopes", detail).into());
    }
    if let Some(merchant) = key.merchant {
        merchants::require(&context.state, merchant)?;
        if key.scopes.contains(&Scope::Admin) {
            let detail =
                "`admin` is the operator's: leave out the merchant, or take `read`, `write` and `refund`";
            return Err(Refused::invalid("scope_not_allowed", "scopes", detail).into());
        }
    }
    Ok(key.clone())
}

/// The key after a command about it: as it was, or revoked. The first revocation stands.
fn changed(known: &ApiKey, wanted: &ApiKey) -> Result<ApiKey, Refused> {
    if known.merchant != wanted.merchant {
        return Err(unknown(wanted.id));
    }
    let same = ApiKey { revoked_at: known.revoked_at, created_at: known.created_at, ..wanted.clone() };
    if same != *known {
        let detail = "only `revoked_at` of a key can change: revoke it and create another";
        return Err(Refused::conflict("api_key_fixed", None, detail));
    }
    if known.revoked_at.is_some() && wanted.revoked_at.is_none() {
        let detail = "a revoked key stays revoked: create another";
        return Err(Refused::conflict("api_key_revoked", Some("revoked_at"), detail));
    }
    Ok(ApiKey { revoked_at: known.revoked_at.or(wanted.revoked_at), ..same })
}

fn unknown(key: ApiKeyId) -> Refused {
    Refused::unknown("unknown_api_key", "id", format!("this merchant has no key {key}"))
}

fn limit(context: &mut Context<'_>, known: Option<&ApiKey>, key: &ApiKey) -> Result<(), No> {
    let whose = key.merchant.map_or_else(|| OPERATOR.to_owned(), |merchant| merchant.to_string());
    let change = Change::between(known.map(life), life(key));
    if counts::allow(context, Counted::ApiKeys, &whose, change)? {
        return Ok(());
    }
    let detail = format!("{whose} has {} live keys: revoke one that is not used", Counted::ApiKeys.limit());
    Err(Refused::conflict("too_many_api_keys", Some("merchant"), detail).into())
}

const fn life(key: &ApiKey) -> Life {
    if key.revoked_at.is_none() { Life::Live } else { Life::Over }
}

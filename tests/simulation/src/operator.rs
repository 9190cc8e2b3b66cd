//! The operator: settings, merchants and endpoints, set up at the start and changed while money is moving.

use alloy_primitives::Address as ChainAddress;
use streambook_model::{
    asset::{Asset, AssetId},
    bytes::Address,
    chain::ConfirmationPolicy,
    id::{EndpointId, MerchantId, RequestId},
    message::Message,
    records::{
        book::ReplyTo,
        registry::{
            Administrator, AssetAmount, Endpoint, FixedAddress, Merchant, PutEndpoint, PutMerchant,
            PutSettings, SealedSecret, Tolerance,
        },
        settings::{ChainSettings, FeeSchedule, PolicyTier, Settings},
    },
    topics,
};
use streambook_processors::book::ledger::BUILTIN_POSTINGS;

use crate::{
    chain::Chain,
    clients::amount,
    machine::Machine,
    violation::{Check, Violation},
    wallet::XPUB,
};

/// The partition of `api.replies` where administration is answered; nobody waits there.
const REPLIES: u16 = 9;

/// What the end of an address that payments share is made of, but for its last byte.
const SHARED: u8 = 0x5a;

/// Whether an address is one that payments share.
pub fn is_shared(address: Address) -> bool {
    address.as_bytes().get(16..19) == Some(&[SHARED; 3])
}

/// What the operator has put in force.
pub struct Operator {
    settings: Settings,
    endpoints: Vec<Endpoint>,
    /// The merchants.
    pub merchants: Vec<MerchantId>,
}

/// The asset of a chain's own token.
pub fn asset_of(chain: &Chain) -> String {
    format!("usdc:{}", chain.id)
}

impl Operator {
    /// Puts settings, merchants and endpoints in force.
    pub fn set_up(chains: &[Chain], machine: &mut Machine) -> Result<Self, Violation> {
        let mut operator = Self {
            settings: settings(chains, machine)?,
            endpoints: Vec::new(),
            merchants: (0..machine.random.between(1, 3))
                .map(|_| MerchantId::from_bits(machine.random.id()))
                .collect(),
        };
        operator.put_settings(machine)?;
        for merchant in operator.merchants.clone() {
            operator.put_merchant(merchant, machine)?;
            operator.put_endpoint(machine)?;
        }
        Ok(operator)
    }

    /// Something changes while money is moving.
    pub fn change(&mut self, machine: &mut Machine) -> Check {
        machine.faults.count("configuration changed");
        match machine.random.below(4) {
            0 => {
                self.settings.fee.parts_per_million =
                    u32::try_from(machine.random.below(50_000)).unwrap_or(0);
                for chain in &mut self.settings.chains {
                    if chain.policy.depth.is_some() {
                        chain.policy.depth = u32::try_from(machine.random.between(1, 6)).ok();
                    }
                }
                self.put_settings(machine)
            }
            1 => {
                let merchant = machine.random.pick(&self.merchants).copied();
                merchant.map_or(Ok(()), |merchant| self.put_merchant(merchant, machine))
            }
            2 => self.put_endpoint(machine),
            _ => self.disable_endpoint(machine),
        }
    }

    fn put_settings(&self, machine: &mut Machine) -> Check {
        let meta = machine.meta(format!("settings-{}", machine.random.clone().bits()));
        let put = PutSettings { meta, settings: self.settings.clone() };
        machine.append(topics::REGISTRY_INBOX, "settings", &put.into()).map(drop)
    }

    fn put_merchant(&self, id: MerchantId, machine: &mut Machine) -> Check {
        let settlement = if machine.random.chance(60) { "custodial" } else { "direct" }.to_owned();
        let merchant = Merchant {
            id,
            name: "shop".into(),
            settlement,
            created_at: machine.now(),
            addresses: self.addresses(id, machine),
            tolerance: self.tolerance(machine)?,
        };
        let (administrator, meta) = administrator(machine);
        let put = Message::from(PutMerchant { meta, administrator, merchant });
        machine.append(topics::REGISTRY_INBOX, &id.to_string(), &put).map(drop)
    }

    /// On most chains an address of its own, now and then another one.
    fn addresses(&self, id: MerchantId, machine: &mut Machine) -> Vec<FixedAddress> {
        let mut addresses = Vec::new();
        for chain in &self.settings.chains {
            if machine.random.chance(85) {
                let mut address = [SHARED; 20];
                address[..16].copy_from_slice(id.bits());
                address[19] = u8::from(machine.random.chance(20));
                addresses.push(FixedAddress { chain: chain.id, address: Address::new(address) });
            }
        }
        addresses
    }

    fn tolerance(&self, machine: &mut Machine) -> Result<Option<Tolerance>, Violation> {
        if machine.random.chance(50) {
            return Ok(None);
        }
        let parts_per_million = u32::try_from(machine.random.below(20_000)).unwrap_or(0);
        let mut tokens = self.settings.assets.iter().filter(|asset| asset.contract.is_some());
        let token = tokens.next().map(|asset| asset.id.clone()).filter(|_| machine.random.chance(50));
        let least = amount(i128::from(machine.random.between(1, 30)))?;
        let amounts = token.map(|asset| AssetAmount { asset, amount: least }).into_iter().collect();
        Ok(Some(Tolerance { parts_per_million, amounts }))
    }

    fn put_endpoint(&mut self, machine: &mut Machine) -> Check {
        let Some(merchant) = machine.random.pick(&self.merchants).copied() else { return Ok(()) };
        let wanted: &[&str] =
            if machine.random.chance(60) { &["*"] } else { &["payment.completed", "payment.refunded"] };
        let endpoint = Endpoint {
            id: EndpointId::from_bits(machine.random.id()),
            merchant,
            livemode: machine.random.chance(20),
            url: "https://shop.example/hook".into(),
            events: wanted.iter().map(|event| (*event).to_owned()).collect(),
            secrets: vec![SealedSecret { nonce: vec![0; 24], ciphertext: vec![1; 48] }],
            disabled: None,
            created_at: machine.now(),
            deleted_at: None,
        };
        self.endpoints.push(endpoint.clone());
        self.say(endpoint, machine)
    }

    fn disable_endpoint(&mut self, machine: &mut Machine) -> Check {
        let index = machine.random.index(self.endpoints.len());
        let Some(endpoint) = self.endpoints.get_mut(index) else { return Ok(()) };
        match machine.random.below(3) {
            0 => endpoint.deleted_at = Some(machine.now()),
            1 => endpoint.disabled = Some("the simulator says so".into()),
            _ => endpoint.disabled = None,
        }
        let endpoint = endpoint.clone();
        self.say(endpoint, machine)
    }

    fn say(&self, endpoint: Endpoint, machine: &mut Machine) -> Check {
        let (administrator, meta) = administrator(machine);
        let key = endpoint.id.to_string();
        let put = Message::from(PutEndpoint { meta, administrator, endpoint });
        machine.append(topics::REGISTRY_INBOX, &key, &put)?;
        if machine.fault("administration repeated", 10) {
            machine.append(topics::REGISTRY_INBOX, &key, &put)?;
        }
        Ok(())
    }
}

fn administrator(machine: &mut Machine) -> (Administrator, streambook_model::meta::Meta) {
    let request = RequestId::from_bits(machine.random.id());
    let reply = Some(ReplyTo { partition: REPLIES, request });
    (Administrator { key: None, reply, idempotency: None }, machine.meta(request.to_string()))
}

fn settings(chains: &[Chain], machine: &mut Machine) -> Result<Settings, Violation> {
    let asset = |id: &str, scale, contract: Option<ChainAddress>| {
        let id: Result<AssetId, _> = id.parse();
        let contract = contract.map(|contract| Address::new(contract.into_array()));
        id.map(|id| Asset { id, scale, contract })
            .map_err(|error| Violation::new("simulator", error.to_string()))
    };
    let mut assets = vec![asset("usd", 2, None)?, asset("jpy", 0, None)?];
    for chain in chains {
        assets.push(asset(&asset_of(chain), 6, Some(chain.token))?);
        assets.push(asset(&format!("eurc:{}", chain.id), 6, Some(chain.other))?);
    }
    let tiers = tiers(chains, machine)?;
    let chains: Vec<_> = chains
        .iter()
        .map(|chain| {
            let by_tag = chain.has_tags && machine.random.chance(30);
            let depth = u32::try_from(machine.random.between(1, 5)).ok();
            ChainSettings {
                id: chain.id,
                policy: ConfirmationPolicy { depth: depth.filter(|_| !by_tag) },
                look_back_seconds: chain.look_back_seconds,
            }
        })
        .collect();
    Ok(Settings {
        version: 1,
        assets,
        chains,
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: Some(XPUB.to_owned()),
        postings: postings(),
        tiers,
        exact_amount_grace_seconds: u32::try_from(machine.random.between(1, 40)).unwrap_or(60),
    })
}

/// For some chains another policy from an amount on.
fn tiers(chains: &[Chain], machine: &mut Machine) -> Result<Vec<PolicyTier>, Violation> {
    let mut tiers = Vec::new();
    for chain in chains {
        for from in [1_001, 20_000] {
            if machine.random.chance(50) {
                let by_tag = chain.has_tags && machine.random.chance(40);
                let depth = u32::try_from(machine.random.between(1, 8)).ok().filter(|_| !by_tag);
                let asset = asset_of(chain).parse();
                let asset = asset.map_err(|_| Violation::new("simulator", "an asset of a chain"))?;
                let policy = ConfirmationPolicy { depth };
                // The chain's own policy changes while the tiers stay.
                tiers.push(PolicyTier { asset, from: amount(from)?, policy, allow_weaker: true });
            }
        }
    }
    Ok(tiers)
}

/// The built-in templates without their comments: each change of the settings is written to every partition.
fn postings() -> String {
    let said = |line: &&str| !line.is_empty() && !line.starts_with('#');
    BUILTIN_POSTINGS.lines().filter(said).flat_map(|line| [line, "\n"]).collect()
}

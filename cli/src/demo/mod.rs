//! `streambook demo`: the whole system on a throw-away directory with a local chain, a merchant and live traffic, all of
//! it through the real interfaces: JSON-RPC, the HTTP API with a real key, Stripe's signed events, signed webhooks.
//!
//! It guarantees that what it shows was checked: every payment, balance and webhook is compared with what the demo itself
//! expects, and a difference ends it with exit code 1 and the difference's name. Whatever it starts it ends.

mod audit;
mod books;
mod chain;
mod clickhouse;
mod merchant;
mod miner;
mod place;
mod receiver;
mod report;
mod scenario;
mod stripe;
mod token;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};
use streambook_log::{Log, embedded::EmbeddedLog};
use streambook_runtime::lineage::Gaps;
use tokio_util::sync::CancellationToken;

use self::{
    audit::{Audit, Sources},
    books::Asset,
    chain::{CHAIN_ID, Chain, DECIMALS},
    merchant::{Api, Shop},
    miner::Miner,
    place::Place,
    receiver::Receiver,
    report::Reader,
    scenario::{Round, World},
    stripe::Stripe,
};
use crate::{
    commands::told_to_stop,
    config::{Config, DataConfig, Engine, LogConfig, LogFormat, LoggingConfig, StripeConfig, WalletConfig},
    output,
    system::{self, Layout, Parts, System, install_logging, install_metrics},
    verify::{self, Outcome, Report, present},
};

/// The account key m/44'/60'/1' of the public test mnemonic "test test test test test test test test test test test junk".
/// Not that of the first account: its addresses are those from which anvil's accounts pay.
const XPUB: &str = "xpub6Ce9NcJvTk372KjsGfWqbcex5DumjpNquQLApoeQUavSCjEc823BV1tb4rXUuPuht8h2hSxkg2EXUaKUJmniJvRZAELxypsCzBFdtosmV76";
/// Blocks until a payment is confirmed.
const CONFIRMATIONS: u64 = 3;
/// Requests a second: the demo looks often.
const REQUESTS: u32 = 5_000;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// When everything has been tried: it prints the books and proves them.
    Tried,
    /// When somebody stops it.
    Stopped,
}

/// In which form results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Who keeps the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Books {
    /// The demo's process.
    Here,
    /// Others on the same cluster.
    Elsewhere,
}

/// What is asked for.
pub(crate) struct Options {
    /// Ordinary payments, beside the special ones.
    pub(crate) payments: u32,
    pub(crate) until: Until,
    /// The data directory, kept; without one a temporary directory is used and removed.
    pub(crate) data: Option<PathBuf>,
    pub(crate) listen: SocketAddr,
    /// A ClickHouse server to write to as well.
    pub(crate) clickhouse: Option<String>,
    /// A Fluvio cluster that holds the log.
    pub(crate) cluster: Option<String>,
    pub(crate) books: Books,
    pub(crate) form: Form,
}

/// Runs the demo.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let place = Place::of(options.data.clone())?;
    let reader = match options.form {
        Form::Json => Reader::Machine,
        Form::Text => Reader::person(),
    };
    let chain = Arc::new(Chain::start().await.context("cannot start a local chain")?);
    let receiver = Receiver::start().await?;
    let stage = Stage { options, reader, chain, receiver, secret: secret() };
    let ended = Box::pin(stage.perform(&place)).await;
    let Stage { chain, receiver, .. } = stage;
    receiver.stop().await?;
    if let Some(chain) = Arc::into_inner(chain) {
        chain.close().await?;
    }
    ended
}

/// A secret in Stripe's form.
fn secret() -> String {
    format!("whsec_{}", Alphanumeric.sample_string(&mut rand::rng(), 32))
}

/// What is there before the system starts.
struct Stage {
    options: Options,
    reader: Reader,
    chain: Arc<Chain>,
    receiver: Receiver,
    secret: String,
}

/// How the traffic ended.
enum Played {
    /// Everything was tried and looked at.
    Through(Box<(Round, Audit)>),
    /// Somebody stopped it.
    Stopped,
}

impl Stage {
    async fn perform(&self, place: &Place) -> anyhow::Result<ExitCode> {
        let config = self.config(place)?;
        install_logging(&config.logging)?;
        let stop = CancellationToken::new();
        let mut miner = Miner::start(&self.chain, &stop);
        let system = Box::pin(self.start(&config)).await?;
        let (store, log) = (Arc::clone(&system.store), Arc::clone(&system.log));
        let played = tokio::select! {
            told = told_to_stop() => told.map(|()| Played::Stopped),
            failed = miner.failed() => Err(failed),
            played = Box::pin(self.play(&system)) => played,
        };
        self.reader.say("\nstopping");
        system.shutdown().await;
        miner.end().await?;
        let gaps = match config.log.engine {
            Engine::Embedded => Gaps::Stop,
            Engine::Fluvio => Gaps::AwaitResend,
        };
        clickhouse::catch_up(&log, &config.clickhouse, gaps).await?;
        match (played?, self.options.until) {
            (Played::Through(ended), _) => self.prove(&config, store, log, &ended).await,
            (Played::Stopped, Until::Stopped) => Ok(ExitCode::SUCCESS),
            (Played::Stopped, Until::Tried) => bail!("stopped before everything was tried"),
        }
    }

    async fn start(&self, config: &Config) -> anyhow::Result<System> {
        let parts = match self.options.books {
            Books::Here => Parts::all(),
            Books::Elsewhere => Parts::without_processors(),
        };
        let system = System::start_parts(config, &parts, "demo", install_metrics()?).await?;
        if self.options.books == Books::Elsewhere {
            self.ask_for_processors(config)?;
        }
        Ok(system)
    }

    /// Says how the books' processes are started: with the demo's own configuration, which knows its chain.
    fn ask_for_processors(&self, config: &Config) -> anyhow::Result<()> {
        let file = config.data.dir.join("streambook.toml");
        std::fs::write(&file, toml::to_string(config).context("the demo's configuration")?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let line = |name: &str, partitions: &str, port: u16| {
            format!(
                "  streambook run processors --partitions {partitions} --config {} --data {} --listen 127.0.0.1:{port}",
                file.display(),
                config.data.dir.join(name).display()
            )
        };
        self.reader
            .say("The demo waits for the books. Start their processes, each in a terminal of its own:");
        self.reader.say(&line("processors-0", "0-7", 9101));
        self.reader.say(&line("processors-1", "8-15", 9102));
        Ok(())
    }

    fn config(&self, place: &Place) -> anyhow::Result<Config> {
        let chain = json!({
            "id": CHAIN_ID, "rpc": [self.chain.url()], "confirmations": CONFIRMATIONS, "start_block": 0,
            "tokens": [{ "asset": Asset::Token.id(), "address": self.chain.token(), "decimals": DECIMALS }],
            "poll_interval_ms": 100,
        });
        let mut config = Config {
            data: DataConfig { dir: place.path(), ..DataConfig::default() },
            stripe: StripeConfig {
                currencies: vec![Asset::Dollar.id().into()],
                webhook_secrets: vec![self.secret.clone()],
                ..StripeConfig::default()
            },
            wallet: WalletConfig { xpub: Some(XPUB.into()) },
            logging: LoggingConfig { format: LogFormat::Text, level: "error".into() },
            chain: vec![serde_json::from_value(chain).context("the demo's chain")?],
            ..Config::default()
        };
        if let Some(endpoint) = &self.options.cluster {
            config.log = LogConfig { engine: Engine::Fluvio, endpoint: endpoint.clone(), ..config.log };
            config.data.secret_key_file = Some(place.path().join("secret.key"));
        }
        if let Some(url) = &self.options.clickhouse {
            config.clickhouse.url.clone_from(url);
            config.clickhouse.database = "streambook_demo".into();
        }
        config.api.listen = self.options.listen;
        config.api.exempt_loopback = true;
        let requests = NonZeroU32::MIN.saturating_add(REQUESTS);
        (config.api.key_requests_per_second, config.api.key_burst) = (requests, requests);
        config.webhooks.allowed_networks = vec!["127.0.0.0/8".parse()?];
        config.webhooks.retry_after_seconds = vec![1, 1, 2, 5, 10];
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            bail!("the demo's configuration: {}", problems.join("; "))
        }
    }

    async fn play(&self, system: &System) -> anyhow::Result<Played> {
        let url = format!("http://{}", system.address);
        let key = system.admin_key.as_ref().context("the directory has an admin key already")?;
        let admin = Api::new(&url, &key.0)?;
        match self.options.books {
            Books::Here => admin.ready().await?,
            Books::Elsewhere => admin.known().await,
        }
        let (shop, secret) = Shop::open(&admin, &self.receiver.url).await?;
        self.receiver.trust(&secret)?;
        self.greet(&url, &key.0, &shop)?;
        let stripe = Stripe::new(&url, self.secret.clone())?;
        let world = World { chain: Arc::clone(&self.chain), shop, stripe, reader: self.reader };
        let round = Box::pin(scenario::play(&world, self.options.payments)).await;
        self.reader.chapter("Looking at every payment, balance and webhook");
        let reads = system.reads.as_ref().context("the demo reads what it wrote")?;
        let sources = Sources { shop: &world.shop, admin: &admin, receiver: &self.receiver, reads };
        let audit = Audit::of(&round, &sources).await?;
        report::tables(&round, &audit, self.reader);
        if self.options.until == Until::Stopped {
            self.print_problems(&round, &audit);
            self.reader.chapter("Payments go on until Ctrl-C");
            scenario::trickle(&world).await;
        }
        Ok(Played::Through(Box::new((round, audit))))
    }

    fn greet(&self, url: &str, admin: &str, shop: &Shop) -> anyhow::Result<()> {
        if self.reader == Reader::Machine {
            if self.options.until == Until::Stopped {
                let merchant = json!({ "id": shop.id, "key": shop.key });
                return output::json(
                    &json!({ "url": url, "admin_key": admin, "merchant": merchant, "rpc": self.chain.url() }),
                );
            }
            return Ok(());
        }
        let lines = [
            format!("API      {url}/v1"),
            format!("health   {url}/readyz"),
            format!("metrics  {url}/metrics"),
            format!("OpenAPI  {url}/openapi.json"),
            format!("chain    {} ({})", self.chain.url(), self.chain.name()),
            format!("webhooks {}", self.receiver.url),
            format!("admin    {admin}"),
            format!("shop     {} {}", shop.id, shop.key),
            format!(
                "\nLook in from another terminal:\n  curl -s {url}/v1/balances -H 'Authorization: Bearer {}'",
                shop.key
            ),
        ];
        lines.iter().for_each(output::line);
        Ok(())
    }

    fn print_problems(&self, round: &Round, audit: &Audit) {
        for problem in round.problems.iter().chain(&audit.problems) {
            self.reader.say(&format!("DIFFERENT: {problem}"));
        }
    }

    /// Replays everything that happened, and says how all of it ended.
    async fn prove(
        &self,
        config: &Config,
        store: Arc<EmbeddedLog>,
        log: Arc<dyn Log>,
        ended: &(Round, Audit),
    ) -> anyhow::Result<ExitCode> {
        let (round, audit) = ended;
        self.print_problems(round, audit);
        self.reader.chapter("Verifying: every inbox is replayed and compared");
        let sql = Layout::of(config).sql;
        let (processors, mut bar) = (system::processors(), present::Bar::new());
        let report = match config.log.engine {
            Engine::Embedded => Box::pin(verify::verify(store, &processors, Some(&sql), &mut bar)).await?,
            Engine::Fluvio => Box::pin(verify::verify_shared(log, &processors, Some(&sql), &mut bar)).await?,
        };
        drop(bar);
        let is_well = round.problems.is_empty() && audit.problems.is_empty();
        match self.reader {
            Reader::Machine => output::json(&self.result(round, audit, &report)?)?,
            Reader::Terminal | Reader::Plain => output::line(present::text(&report)),
        }
        match (is_well, report.outcome()) {
            (true, Outcome::Ok) => Ok(ExitCode::SUCCESS),
            (true, _) => Ok(ExitCode::FAILURE),
            (false, _) => {
                let problems: Vec<_> = round.problems.iter().chain(&audit.problems).cloned().collect();
                bail!("the demo ended otherwise than expected: {}", problems.join("; "))
            }
        }
    }

    fn result(&self, round: &Round, audit: &Audit, report: &Report) -> anyhow::Result<Value> {
        let mut result = report::as_json(round, audit);
        result["chain"] = json!({ "node": self.chain.name(), "id": CHAIN_ID });
        result["problems"] = json!(round.problems.iter().chain(&audit.problems).collect::<Vec<_>>());
        result["verify"] = serde_json::to_value(report)?;
        let is_well =
            round.problems.is_empty() && audit.problems.is_empty() && report.outcome() == Outcome::Ok;
        result["ok"] = json!(is_well);
        Ok(result)
    }
}

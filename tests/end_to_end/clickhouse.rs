//! The real binary in front of the real ClickHouse engine: both are killed under traffic, and in the end ClickHouse holds what
//! the log holds, each record once, and the balances the API shows.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::{
    api::text, chain::TestChain as _, command, devchain::Development, parts, place::Place,
    settings::Settings, streambook::Streambook, traffic::Traffic, waiting::Progress,
};

/// How long the demo may take on a busy machine.
const DEMO_WAIT: Duration = Duration::from_secs(300);
/// How often something is killed.
const ROUNDS: usize = 6;
/// What ClickHouse takes from the log.
const TAKEN: [&str; 10] = [
    "payments.events",
    "ledger.transactions",
    "chain.transfers",
    "webhooks.attempts",
    "dead.letters",
    "registry.events",
    "api.replies",
    "chain.inbox",
    "stripe.inbox",
    "book.inbox",
];

/// The engine behind HTTP (`tests/tools/clickhouse.py`), a process of its own.
struct ClickHouse {
    // It ends when its standard input closes.
    child: Option<Child>,
    python: PathBuf,
    place: Place,
    url: String,
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
    }
}

impl ClickHouse {
    /// Starts one; none when the engine is missing, which has been said.
    fn start() -> Option<Self> {
        let python = parts::python()?;
        let found = Command::new(&python).args(["-c", "import chdb"]).output().unwrap();
        if !found.status.success() {
            parts::missing(
                "chdb-core (ClickHouse), got by tests/setup/install",
                &python.display().to_string(),
            );
            return None;
        }
        let mut engine =
            Self { child: None, python, place: Place::new(), url: "http://127.0.0.1:0".to_owned() };
        engine.start_again();
        Some(engine)
    }

    /// Starts it on its data and, except the first time, on its port.
    fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().to_owned();
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(parts::repository().join("tests/tools/clickhouse.py"));
        command.args(["--with-parent", "--port", &port, "--data"]).arg(self.data());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("the engine says where it listens");
        self.url = text(&said, "url");
        self.child = Some(child);
    }

    fn data(&self) -> PathBuf {
        Path::new(self.place.path()).join("clickhouse")
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; there is nothing else to do about it here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The answer to a question in the product's database, as tab-separated text.
    async fn ask(&self, sql: &str) -> String {
        self.ask_in("streambook", sql).await
    }

    async fn ask_in(&self, database: &str, sql: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/?database={database}", self.url);
        let answer = client.post(url).body(sql.to_owned()).send().await.unwrap();
        let (status, answer) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{sql}: {answer}");
        answer.trim().to_owned()
    }

    async fn count(&self, sql: &str) -> u64 {
        self.ask(sql).await.parse().unwrap()
    }
}

fn settings(chain: &Development, engine: &ClickHouse) -> Settings {
    let mut settings = Settings::on(chain);
    let section = format!("[clickhouse]\nurl = \"{}\"\nbatch_age_ms = 50\nbatch_records = 200\n", engine.url);
    settings.toml = format!("{section}{}", settings.toml);
    settings
}

/// Waits until ClickHouse has everything that is in the log at this moment: the log is counted while nobody writes to it,
/// and compared with the positions in ClickHouse. What is written meanwhile is no matter.
async fn until_taken(streambook: &mut Streambook, engine: &ClickHouse) {
    let records = streambook.records().await;
    let wanted: usize = TAKEN.iter().map(|topic| usize::try_from(records[*topic]).unwrap()).sum();
    let probe = async || {
        let (mut done, mut behind) = (0, Vec::new());
        let positions = engine.ask("SELECT topic, sum(next) FROM sink_progress GROUP BY topic").await;
        for (topic, next) in positions.lines().map(|line| line.split_once('\t').unwrap()) {
            let (next, end): (u64, u64) = (next.parse().unwrap(), records[topic]);
            done += usize::try_from(next.min(end)).unwrap();
            if next < end {
                behind.push(format!("{topic}: {next} of {end}"));
            }
        }
        if done == wanted { Ok(()) } else { Err(Progress { done, seen: behind.join(", ") }) }
    };
    streambook.while_advancing("ClickHouse has taken everything", probe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_holds_the_log_once_whatever_is_killed() {
    let Some(mut engine) = ClickHouse::start() else { return };
    let mut random = StdRng::seed_from_u64(4);
    let chain = Development::start().await.unwrap();
    let mut streambook = Streambook::start(settings(&chain, &engine)).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start(&streambook, chain, &mut random).await;
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        if round % 3 != 0 {
            streambook.kill();
        }
        if round % 3 != 1 {
            engine.kill();
            engine.start_again();
        }
        if round % 3 != 0 {
            streambook.start_again().await;
        }
        if round == 3 {
            traffic.world.reorganise(2);
        }
    }
    traffic.end().await;
    streambook.until_ready().await;
    traffic.until_all_is_right(&streambook).await;
    until_taken(&mut streambook, &engine).await;
    let balances = traffic.world.shop().balances().await;
    let shop = traffic.world.shop().id.clone();
    assert!(streambook.metric("streambook_clickhouse_rows_total").await.is_some());
    streambook.stop().await;
    let records = command::records(&streambook.data());

    // Without `FINAL`: nothing came twice.
    for (topic, sql) in [
        ("payments.events", "SELECT count() FROM payment_events"),
        ("ledger.transactions", "SELECT uniqExact(transaction) FROM ledger_entries"),
        ("webhooks.attempts", "SELECT count() FROM webhook_attempts"),
        ("api.replies", "SELECT count() FROM api_replies"),
        ("dead.letters", "SELECT count() FROM dead_letters"),
    ] {
        assert_eq!(engine.count(sql).await, records[topic], "{topic}");
    }
    // The chain went on until the end, so its last heads may wait for the next start: what was taken is there once.
    let taken = engine.count("SELECT sum(next) FROM sink_progress WHERE topic = 'chain.transfers'").await;
    let rows = "SELECT (SELECT count() FROM chain_transfers) + (SELECT count() FROM chain_heads)";
    assert_eq!(engine.count(rows).await, taken);
    assert!(taken <= records["chain.transfers"]);
    assert_eq!(engine.count("SELECT count() FROM payments FINAL").await, traffic.world.payments() as u64);
    assert_eq!(engine.ask("SELECT count() FROM ledger_imbalances").await, "0");
    assert_eq!(engine.ask("SELECT sum(lines_missing), sum(abs(difference)) FROM balances").await, "0\t0");
    let sql = format!(
        "SELECT replaceOne(account_kind, 'merchant/', ''), asset, -balance FROM balances \
         WHERE account LIKE '%/merchant/{shop}/%' AND balance != 0 ORDER BY 1, 2"
    );
    let shown: Vec<_> =
        balances.iter().map(|((account, asset), amount)| format!("{account}\t{asset}\t{amount}")).collect();
    assert_eq!(engine.ask(&sql).await.lines().collect::<Vec<_>>(), shown);
    command::verify_ok(&streambook.data());
}

/// The queries of a document, each with the table of its answer: a row of cells for each line.
fn answered(document: &str) -> Vec<(String, Vec<Vec<String>>)> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let answer = |rest: &str| -> Vec<Vec<String>> {
        let lines =
            rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        lines.filter(|line| !line.starts_with("|---")).map(cells).collect()
    };
    let queries = document.split("```sql\n").skip(1).filter_map(|part| part.split_once("```"));
    queries.map(|(query, rest)| (query.trim().to_owned(), answer(rest))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ten_questions_have_the_answers_of_the_docs() {
    let Some(engine) = ClickHouse::start() else { return };
    let mut demo = command::streambook();
    demo.args(["demo", "--exit", "--json", "--clickhouse", &engine.url]);
    let ended =
        tokio::task::spawn_blocking(move || command::ends_within(&mut demo, DEMO_WAIT)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let document = std::fs::read_to_string(parts::repository().join("docs/analytics.md")).unwrap();
    let questions = answered(&document);
    assert_eq!(questions.len(), 10);
    for (query, expected) in questions {
        let answer = engine.ask_in("streambook_demo", &format!("{query} FORMAT TSVWithNames")).await;
        let found: Vec<Vec<String>> =
            answer.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        assert_eq!(found, expected, "{query}");
    }
}

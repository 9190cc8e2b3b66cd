//! Chains that do not behave, from outside: nodes that lie under payments, a fork below finality with the operator's way
//! out of it, and two chains at once with a policy each.

use serde_json::{Value, json};
use streambook_devchain::{BelowFinality, LiveBlock, ReorgOptions};
use streambook_lying_node::{Lie, LyingNode, Mix};

use crate::{
    api::text,
    chain::{TestChain, Transfer},
    command,
    devchain::Development,
    money::{TOKEN, Tally, token},
    settings::{CONFIRMATIONS, Settings},
    shop::{Payment, Shop},
    stage::{Stage, transfer_statuses},
    streambook::Streambook,
    waiting,
};

/// The settings with more nodes, and without patience for those that are away.
fn nodes(chain: &Development, urls: &[String]) -> Settings {
    let mut settings = Settings::on(chain);
    let one = format!("rpc = [\"{}\"]", chain.url());
    let all = format!(
        "rpc = {}\nabsent_after_ms = 1000\nretry_min_ms = 10\nhedge_after_ms = 100\nrequest_timeout_ms = 1000",
        serde_json::to_string(urls).unwrap()
    );
    assert!(settings.toml.contains(&one));
    settings.toml = settings.toml.replace(&one, &all).replace("retry_max_ms = 1000", "retry_max_ms = 200");
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_under_lying_nodes_are_credited_once_and_all_in_the_end() {
    let chain = Development::start().await.unwrap();
    let unreachable = Mix::of(&[Lie::BadGateway], 1_000);
    let mixes = [Mix::all(200), Mix::all(200).without(Lie::HurryFinality), unreachable];
    let mut proxies = Vec::new();
    for (seed, mix) in (0..).zip(mixes) {
        proxies.push(LyingNode::start(&chain.url(), seed, mix).await.unwrap());
    }
    let urls: Vec<_> = proxies.iter().map(LyingNode::url).collect();
    let streambook = Streambook::start(nodes(&chain, &urls)).await;
    let shop = Shop::open(&streambook, "shop").await;
    let stage = Stage { chain, streambook, shop };
    let (mut tally, mut payments) = (Tally::default(), Vec::new());
    for round in 0..8 {
        let payment = stage.ask("5").await;
        stage.pay(&payment, token("5")).await;
        stage.chain.mine(2).await;
        until_asked(&proxies, 40).await;
        payments.push(payment);
        if round % 3 == 2 {
            // What was in the blocks is gone, and is paid again below.
            stage.chain.reorg(2).await;
            let last = payments.pop().unwrap();
            stage.pay(&last, token("5")).await;
            stage.chain.mine(1).await;
            payments.push(last);
        }
    }
    stage.chain.mine(CONFIRMATIONS).await;
    let told: u64 = proxies.iter().flat_map(|proxy| proxy.told().into_values()).sum();
    proxies.iter().for_each(|proxy| proxy.set_mix(Mix::honest()));
    for payment in &payments {
        let completed = stage.until_status(payment, "completed").await;
        assert_eq!(completed["amount_received"], "5.00");
        tally.applied(TOKEN, token("5"));
    }
    assert!(told > 10, "{told} lies were told");
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

/// Waits until the nodes were asked so many questions more.
async fn until_asked(nodes: &[LyingNode], more: u64) {
    let asked = || nodes.iter().map(LyingNode::asked).sum::<u64>();
    let wanted = asked() + more;
    let probe =
        async || if asked() >= wanted { Ok(()) } else { Err(format!("{} of {wanted} questions", asked())) };
    waiting::until(probe).await.unwrap();
}

/// A command's output as JSON.
fn answer(ended: &command::Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_forked_below_finality_goes_on_after_a_rebuild() {
    forked_and_rebuilt(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_forked_below_finality_is_rebuilt_in_the_running_process() {
    forked_and_rebuilt(true).await;
}

/// The operator's way out, with the process stopped for it, or running all the while.
async fn forked_and_rebuilt(running: bool) {
    let stage = Stage::<Development>::open().await.unwrap();
    let (mut tally, forced) =
        (Tally::default(), ReorgOptions { below_finality: BelowFinality::Force, ..ReorgOptions::default() });
    let below = stage.ask("40").await;
    stage.pay(&below, token("40")).await;
    stage.chain.mine(1).await;
    let root = stage.chain.head().await;
    let reversed = stage.ask("7").await;
    stage.pay(&reversed, token("7")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&below, "completed").await;
    stage.until_status(&reversed, "completed").await;
    stage.chain.node().chain().lock().finalize(root + 1).unwrap();
    let final_one = stage.chain.head().await;
    // The first is below the fork, the second is final and above it, the third is above it and not final.
    let open = stage.ask("9").await;
    stage.pay(&open, token("9")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&open, "completed").await;
    let depth = stage.chain.head().await - root;
    let blocks = vec![LiveBlock::default(); usize::try_from(depth).unwrap() + 2];
    stage.chain.node().reorg(depth, blocks, forced).unwrap();
    let halted = |status: u16, body: &Value| {
        status == 503
            && body["not_ready"].as_object().is_some_and(|parts| {
                parts
                    .iter()
                    .any(|(part, why)| part.starts_with("reorg/") && why.to_string().contains("halted"))
            })
    };
    stage.streambook.until_readiness("the chain is halted", halted).await;
    assert!(final_one > root);

    let Stage { chain, mut streambook, shop } = stage;
    let status = command::ends(streambook.command("chain status").arg("--json"));
    let said = answer(&status)[0].clone();
    assert!(said["halted"].is_string() && said["fork"].is_string() && status.code == Some(1), "{status:#?}");
    let troubles = said["troubles"].as_array().unwrap();
    assert!(troubles.iter().any(|trouble| trouble.to_string().contains("forked below finality")), "{said}");
    if !running {
        streambook.stop().await;
        let status = command::ends(streambook.command("chain status").arg("--json"));
        assert!(answer(&status)[0]["halted"].is_string() && status.code == Some(1), "{status:#?}");
    }
    let dry = command::ends(streambook.command("chain rebuild").args(["--chain", "31337", "--json"]));
    let dry = answer(&dry);
    assert_eq!(
        (&dry["block"], &dry["done"], &dry["taken_back"]),
        (&json!(root), &json!(false), &json!(depth))
    );
    let done = command::ends(streambook.command("chain rebuild").args(["--chain", "31337", "--yes"]));
    assert_eq!(done.code, Some(0), "{done:#?}");
    if running {
        // Once it is said to be done, it is.
        let again = command::ends(streambook.command("chain rebuild").args(["--chain", "31337", "--yes"]));
        assert!(again.code == Some(1) && again.err.contains("is not halted"), "{again:#?}");
    } else {
        streambook.start_again().await;
    }
    let stage = Stage { chain, streambook, shop };

    let taken_back = stage.until_status(&open, "reversed").await;
    assert_eq!(transfer_statuses(&taken_back), ["orphaned"]);
    // What was final is taken back as well: the chain has left it.
    let was_final = stage.until_status(&reversed, "reversed").await;
    assert_eq!(transfer_statuses(&was_final), ["orphaned"]);
    assert_eq!(stage.shop.payment(&below.id).await["status"], "completed");
    stage.streambook.until_ready().await;
    for (payment, units) in [(&open, "9"), (&reversed, "7")] {
        stage.pay(payment, token(units)).await;
        stage.chain.mine(CONFIRMATIONS).await;
        stage.until_status(payment, "completed").await;
    }
    for units in ["40", "7", "9"] {
        tally.applied(TOKEN, token(units));
    }
    stage.until_books_are(&tally).await;
    let Stage { mut streambook, .. } = stage;
    streambook.stop().await;
    let counted = command::records(&streambook.data());
    assert_eq!(counted.get("dead.letters").copied().unwrap_or(0), 0, "{counted:?}");
    command::verify_ok(&streambook.data());
}

/// The node goes back and forth between two branches, so the block with the payment becomes canonical three times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_becomes_canonical_again_is_credited_each_time_and_counts_once() {
    let stage = Stage::<Development>::open().await.unwrap();
    let payment = stage.ask("5").await;
    stage.pay(&payment, token("5")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "completed").await;
    let head = || stage.chain.node().chain().lock().head().hash();
    let with_money = head();
    stage.chain.reorg(CONFIRMATIONS).await;
    let without = head();
    stage.until_status(&payment, "reversed").await;
    for (branch, status) in [(with_money, "completed"), (without, "reversed"), (with_money, "completed")] {
        stage.chain.node().chain().lock().switch_to(branch, ReorgOptions::default()).unwrap();
        stage.until_status(&payment, status).await;
    }
    let completed = stage.shop.payment(&payment.id).await;
    assert_eq!(transfer_statuses(&completed), ["orphaned", "orphaned", "confirmed"]);
    let mut tally = Tally::default();
    tally.applied(TOKEN, token("5"));
    stage.until_books_are(&tally).await;
    let (credit, reversal) = (["transfer.received", "payment.applied"], ["reversal", "reversal"]);
    let templates = [credit, reversal, credit, reversal, credit].concat();
    assert_eq!(stage.shop.templates(&payment.id).await, templates);
    stage.streambook.stop_and_verify().await;
}

/// The chain is read from a block on that is above the one with the money: only a search below it can find that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_below_the_blocks_that_were_read_is_found_by_a_backfill_and_credited_once() {
    let chain = Development::start().await.unwrap();
    let mut settings = Settings::on(&chain);
    settings.toml = settings.toml.replace("confirmations =", "start_block = 20\nconfirmations =");
    let streambook = Streambook::start(settings).await;
    let shop = Shop::open(&streambook, "shop").await;
    let stage = Stage { chain, streambook, shop };
    let (missed, looked_up) = (stage.ask("40").await, stage.ask("7").await);
    stage.pay(&missed, token("30")).await;
    stage.chain.mine(2).await;
    stage.pay(&missed, token("10")).await;
    let transaction = stage.pay(&looked_up, token("7")).await;
    stage.chain.mine(30).await;
    let seen = stage.ask("1").await;
    stage.pay(&seen, token("1")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&seen, "completed").await;
    assert_eq!(stage.shop.payment(&missed.id).await["status"], "pending");

    let Stage { chain, mut streambook, shop } = stage;
    streambook.stop().await;
    let file = streambook.file("streambook.toml");
    let toml = std::fs::read_to_string(&file).unwrap().replace("start_block = 20", "start_block = 1");
    std::fs::write(&file, toml).unwrap();
    // The first is asked for while nobody has the directory open, the others of the running process.
    let asked = [
        vec!["--payment", &missed.id, "--block", "1"],
        vec!["--payment", &missed.id, "--since", "2020-01-01T00:00:00Z"],
        vec!["--payment", &looked_up.id, "--transaction", &transaction],
        vec!["--payment", &looked_up.id],
    ];
    for (number, arguments) in asked.iter().enumerate() {
        if number == 1 {
            streambook.start_again().await;
            streambook.until_ready().await;
        }
        let done = command::ends(streambook.command("chain backfill").args(arguments));
        assert_eq!(done.code, Some(0), "{done:#?}");
    }
    let stage = Stage { chain, streambook, shop };
    let completed = stage.until_status(&missed, "completed").await;
    assert_eq!(transfer_statuses(&completed), ["confirmed", "confirmed"]);
    stage.until_status(&looked_up, "completed").await;
    let mut tally = Tally::default();
    for units in ["40", "7", "1"] {
        tally.applied(TOKEN, token(units));
    }
    stage.until_books_are(&tally).await;
    let Stage { mut streambook, .. } = stage;
    // Each of the four is asked for and closed.
    let probe = async || {
        let status = command::ends(streambook.command("chain status").arg("--json"));
        let searches = answer(&status)[0]["backfills"].clone();
        let is_done = |one: &Value| one["state"] == "done";
        let all = searches.as_array().is_some_and(|all| all.len() == 4 && all.iter().all(is_done));
        if all { Ok(searches) } else { Err(searches.to_string()) }
    };
    let searches = streambook.until("all are searched for", probe).await;
    streambook.stop().await;
    let status = command::ends(streambook.command("chain status").arg("--json"));
    assert_eq!(answer(&status)[0]["backfills"], searches);
    let said: Vec<_> =
        searches.as_array().unwrap().iter().map(|one| (&one["state"], &one["reported"])).collect();
    let (done, count) = (json!("done"), [json!(2), json!(0), json!(1), json!(0)]);
    assert_eq!(said, count.iter().map(|count| (&done, count)).collect::<Vec<_>>(), "{searches}");
    assert!(searches[1]["problem"].as_str().unwrap().contains("below block 1"), "{searches}");
    command::verify_ok(&streambook.data());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_on_each_of_two_chains_completes_by_its_own_policy() {
    let (first, second) = (Development::start().await.unwrap(), Development::with_id(5).await);
    let mut settings = Settings::on(&first);
    settings.toml.push_str(&format!(
        "[[chain]]\nid = 5\nrpc = [\"{}\"]\nfinality = \"finalized\"\npoll_interval_ms = 50\n\
         tokens = [{{ asset = \"usdc:5\", address = \"{}\", decimals = 6 }}]\n",
        second.url(),
        second.tokens().accepted
    ));
    let streambook = Streambook::start(settings).await;
    let shop = Shop::open(&streambook, "shop").await;
    let by_depth = shop.ask("3", 86_400).await;
    let body = json!({ "amount": "4", "asset": "usdc:5", "method": "chain", "expires_in": 86_400 });
    let made = shop.api.done("/v1/payments", &body).await;
    let by_tag = Payment { id: text(&made, "id"), address: text(&made, "deposit_address") };
    let pay = async |chain: &Development, payment: &Payment, amount: &str| {
        let transfer = Transfer {
            token: chain.tokens().accepted.clone(),
            to: payment.address.clone(),
            units: token(amount),
        };
        chain.transfer(&transfer).await;
        chain.mine(20).await;
    };
    pay(&second, &by_tag, "4").await;
    pay(&first, &by_depth, "3").await;
    let until = async |payment: &Payment, status: &str| {
        let probe = async || {
            let now = shop.payment(&payment.id).await;
            if now["status"] == status { Ok(()) } else { Err(now.to_string()) }
        };
        streambook.until(&format!("the payment is {status}"), probe).await;
    };
    until(&by_depth, "completed").await;
    // Twenty blocks are no substitute for the tag.
    until(&by_tag, "confirming").await;
    let head = second.head().await;
    second.node().chain().lock().finalize(head).unwrap();
    until(&by_tag, "completed").await;
    streambook.stop_and_verify().await;
}

//! A disk that fills up under traffic: Streambook says so and takes no more, and with room again it has everything that it
//! ever acknowledged.
//!
//! The disk is real: a file system in memory, mounted in a namespace of its own, in which this test runs once more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    chain::TestChain, devchain::Development, parts, place::Place, settings::Settings, streambook::Streambook,
    traffic::Traffic,
};

/// Where the small disk is mounted, for the test that runs on it.
const DISK: &str = "STREAMBOOK_TEST_DISK";
/// The disk's size.
const SIZE: &str = "400m";
/// What is left of it when it begins to be full.
const LEFT_BYTES: u64 = 3 << 20;
/// What the script ends with where it cannot mount.
const CANNOT: i32 = 77;
/// The test's name, for the harness that runs it on the disk.
const NAME: &str = "full_disk::a_disk_that_fills_up_loses_nothing_that_was_acknowledged";

/// A file that takes the disk's room.
struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk but for a little.
    fn fill(disk: &Path) -> Self {
        let path = disk.join("ballast");
        let mut chunk = 16 << 20;
        let file = fs::File::create(&path).unwrap();
        while chunk >= 4_096 {
            let text = vec![1; chunk];
            if std::io::Write::write_all(&mut &file, &text).is_err() {
                chunk /= 4;
            }
        }
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(LEFT_BYTES)).unwrap();
        Self(path)
    }

    /// Makes room.
    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

#[test]
fn a_disk_that_fills_up_loses_nothing_that_was_acknowledged() {
    let Some(disk) = std::env::var_os(DISK) else { return on_a_small_disk() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(fill_up(Path::new(&disk)));
}

/// Runs this test once more, on a disk that is small.
fn on_a_small_disk() {
    let place = Place::new();
    let script = format!(
        "mount -t tmpfs -o size={SIZE} none \"$1\" || exit {CANNOT}; exec \"$0\" --exact {NAME} --nocapture"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(std::env::current_exe().unwrap()).arg(place.path()).env(DISK, place.path());
    let what = "a namespace in which tmpfs can be mounted (`unshare` of util-linux, kernel.unprivileged_userns_clone=1)";
    let Ok(output) = command.output() else { return parts::missing(what, "unshare") };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(CANNOT) || said.starts_with("unshare:") {
        return parts::missing(what, said.trim());
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn fill_up(disk: &Path) {
    let chain = Development::start().await.unwrap();
    let mut streambook = Streambook::start_in(Place::below(disk), Settings::on(&chain)).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start(&streambook, chain, &mut StdRng::seed_from_u64(9)).await;
    let before = traffic.world.payments();
    let ballast = Ballast::fill(disk);
    let is_full = |status: u16, body: &Value| {
        let reason = body["not_ready"]["log"].as_str().unwrap_or_default();
        status == 503 && reason.contains("the disk is full")
    };
    streambook.until_readiness("the full disk is named", is_full).await;
    assert!(traffic.world.payments() > before, "nothing was acknowledged on the way");
    let shop = traffic.world.shop();
    let refused = shop
        .api
        .post(
            "/v1/payments",
            &json!({ "amount": "1", "asset": "usdc:31337", "method": "chain", "expires_in": 600 }),
        )
        .await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let code = refused.body["code"].as_str().unwrap_or_default();
    assert!(matches!(code, "log_unavailable" | "not_ready"), "{}", refused.body);
    // What it has it still shows.
    assert!(!shop.api.all("/v1/payments").await.is_empty());

    streambook.kill();
    ballast.remove();
    streambook.start_again().await;
    streambook.until_ready().await;
    traffic.end().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop_and_verify().await;
}

//! What this process has used of the machine, from Linux's proc file system. Where there is none, every figure is 0.

use std::{collections::BTreeMap, time::Duration};

/// A clock tick of `/proc/self/stat`: `USER_HZ` is 100 on every architecture Linux has today.
const TICK: Duration = Duration::from_millis(10);

/// Processor time used so far, by all threads together.
pub(super) fn cpu() -> Duration {
    ticks(&read("/proc/self/stat"))
}

/// Processor time that another process has used so far.
pub(super) fn cpu_of(process: u32) -> Duration {
    ticks(&read(&format!("/proc/{process}/stat")))
}

/// Processor time that was not idle, of all cores together.
pub(super) fn machine() -> Duration {
    busy(&read("/proc/stat"))
}

/// The first line of `proc_stat(5)`: user, nice, system, idle, iowait, irq, softirq, steal.
fn busy(stat: &str) -> Duration {
    let line = stat.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1).take(8).zip(0_u8..);
    let busy = fields.filter(|(_, place)| !matches!(place, 3 | 4));
    let ticks: u32 = busy.filter_map(|(field, _)| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// Processor time by kind of thread: names without their numbers. Threads that have ended are not in it.
pub(super) fn cpu_by_thread() -> BTreeMap<String, Duration> {
    let mut by_name = BTreeMap::new();
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return by_name };
    for task in tasks.filter_map(Result::ok) {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let name =
            stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(name, _)| name);
        let name = name.trim_end_matches(|end: char| end.is_ascii_digit() || "-#:".contains(end)).to_owned();
        *by_name.entry(name).or_default() += ticks(&stat);
    }
    by_name
}

/// Memory in use now, in bytes.
pub(super) fn resident_bytes() -> u64 {
    field("/proc/self/status", "VmRSS:") << 10
}

/// The most memory ever in use, in bytes.
pub(super) fn peak_resident_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:") << 10
}

/// Bytes handed to the disk so far.
pub(super) fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

/// The same of another process.
pub(super) fn written_by(process: u32) -> u64 {
    field(&format!("/proc/{process}/io"), "write_bytes:")
}

/// User and system time: fields 14 and 15 of `proc_pid_stat(5)`, the name in field 2 being of any form.
fn ticks(stat: &str) -> Duration {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

fn field(file: &str, name: &str) -> u64 {
    let text = read(file);
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_or_waits_for_a_disk_is_not_busy() {
        let stat = "cpu  100 10 50 9000 800 5 15 20 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy(stat), Duration::from_secs(2));
    }

    #[test]
    fn processor_time_is_user_and_system_time_whatever_the_name() {
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194560 1 0 0 0 120 30 0 0 20 0 9 0 7 8 9";
        assert_eq!(ticks(stat), Duration::from_millis(1_500));
    }
}

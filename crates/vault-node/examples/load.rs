//! How many recoveries a second one machine gives, clients included.
//!
//! ```text
//! cargo run --release -p keyhaven-vault-node --example load -- [CLIENTS] [SECONDS]
//! ```
//!
//! Starts a vault in this process on a data folder of its own, with every flush that it always
//! makes, registers one account for each client, and lets all of them recover their keys as fast
//! as they can. A recovery is two requests and two commits. The passwords are stretched at a cost
//! that protects nothing, so that the vault is measured and not Argon2id.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::time::{Duration, Instant};

use keyhaven_secrets::{BackupKey, Password};
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_client::{
    AccountName, Cost, HttpTransport, MemoryJournal, NewDevice, Policy, RegisterBy, Token,
    UnixSeconds, Vault,
};
use keyhaven_vault_node::{Config, Rate, add_account, init, serve};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<u64>());
    let clients = numbers.next().unwrap_or(Ok(8))?;
    let seconds = numbers.next().unwrap_or(Ok(5))?;
    let folder = tempfile::tempdir()?;
    init(folder.path())?;
    let mut config = Config::new(folder.path());
    config.listen.set_port(0);
    let unlimited = Rate {
        per_second: 1_000_000,
        burst: 1_000_000,
    };
    config.limits.account = unlimited;
    config.limits.everybody = unlimited;
    let running = serve(&config)?;
    let (address, data) = (running.address(), folder.path());

    let took = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|number| scope.spawn(move || client(number, address, data, seconds)))
            .collect();
        let mut took = Vec::new();
        for client in clients {
            took.extend(client.join().map_err(|_| "a client panicked")??);
        }
        Ok::<_, Failure>(took)
    })?;
    report(clients, seconds, took);
    Ok(())
}

/// Registers, and then recovers until the time is over; how long each recovery took.
fn client(
    number: u64,
    address: &keyhaven_vault_client::VaultAddress,
    data: &std::path::Path,
    seconds: u64,
) -> Result<Vec<Duration>, Failure> {
    let mut entropy = SeededEntropy::new(number);
    let account = AccountName::parse(&format!("client {number}"))?;
    let token = add_account(data, &account)?;
    let transport = HttpTransport::new(address, Token::parse(token.expose())?)?;
    let now = UnixSeconds(std::time::UNIX_EPOCH.elapsed()?.as_secs());
    let policy = Policy::default().dangerous_with_cost(Cost::parse(8, 1, 1)?);
    let mut memory = NewDevice::new();
    let vault = Vault::connect(address, &account, transport, &mut memory, now, policy)?;
    let password = Password::parse("walnut trapeze")?;
    let key = BackupKey::generate(&mut entropy);
    let mut journal = MemoryJournal::new();
    vault.register(
        &mut journal,
        &password,
        &key,
        None,
        RegisterBy::First,
        &mut entropy,
    )?;

    let began = Instant::now();
    let mut took = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        let one = Instant::now();
        vault.recover(&mut journal, &password, None, &mut entropy)?;
        took.push(one.elapsed());
    }
    Ok(took)
}

fn report(clients: u64, seconds: u64, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| {
        let place = took.len().saturating_mul(percent) / 100;
        took.get(place.min(took.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    let count = u32::try_from(took.len()).unwrap_or(u32::MAX);
    let over = u32::try_from(seconds).unwrap_or(1).max(1);
    println!(
        "{clients} clients, {seconds} s: {count} recoveries, {:.0} a second, \
         p50 {:.1} ms, p99 {:.1} ms",
        f64::from(count) / f64::from(over),
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
    );
}

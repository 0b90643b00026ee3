//! How often an account, and everybody together, may ask (VAULT-10).
//!
//! Every request is sealed, so the host cannot tell a guess from a question: one limit holds for
//! all. It is a courtesy to the other accounts and a brake on guesses by somebody who stole a
//! token; the ten guesses themselves are counted in the core, and no safety rests on this clock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyhaven_wire::message::AccountName;

/// A steady rate and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, on average.
    pub per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
}

impl Rate {
    /// The time that one request takes up.
    fn interval(self) -> Duration {
        Duration::from_secs(1)
            .checked_div(self.per_second)
            .unwrap_or(Duration::from_secs(1))
    }
}

/// Refuses what comes too fast, and says when to come again.
pub(crate) struct RateLimiter {
    account: Rate,
    everybody: Rate,
    state: Mutex<State>,
}

struct State {
    everybody: Meter,
    // Only accounts that logged in stand here, so their number is bounded by the file of accounts.
    accounts: HashMap<AccountName, Meter>,
    swept: Instant,
}

/// Meters at rest are dropped this often.
const SWEEP: Duration = Duration::from_secs(60);

/// When the requests admitted so far will have been used up (the generic cell rate algorithm of
/// ITU-T I.371).
#[derive(Clone, Copy)]
struct Meter {
    used_until: Instant,
}

impl Meter {
    fn admit(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let interval = rate.interval();
        let tolerance = interval.saturating_mul(rate.burst.saturating_sub(1));
        let from = self.used_until.max(now);
        let ahead = from.saturating_duration_since(now);
        if let Some(wait) = ahead.checked_sub(tolerance).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        self.used_until = from.checked_add(interval).unwrap_or(from);
        Ok(())
    }
}

impl RateLimiter {
    pub(crate) fn new(account: Rate, everybody: Rate, now: Instant) -> Self {
        let state = State {
            everybody: Meter { used_until: now },
            accounts: HashMap::new(),
            swept: now,
        };
        Self {
            account,
            everybody,
            state: Mutex::new(state),
        }
    }

    /// Admits one request, or says how long to wait. The account's own limit comes first, so that
    /// one account's flood does not use up what everybody shares.
    pub(crate) fn admit(&self, account: &AccountName, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.swept) >= SWEEP {
            state.accounts.retain(|_, meter| meter.used_until > now);
            state.swept = now;
        }
        let meter = state
            .accounts
            .entry(account.clone())
            .or_insert(Meter { used_until: now });
        meter.admit(self.account, now)?;
        state.everybody.admit(self.everybody, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountName {
        AccountName::parse(name).unwrap()
    }

    /// VAULT-10.
    #[test]
    fn a_burst_passes_and_then_the_steady_rate_holds() {
        let start = Instant::now();
        let limiter = RateLimiter::new(
            Rate {
                per_second: 2,
                burst: 3,
            },
            Rate {
                per_second: 1000,
                burst: 1000,
            },
            start,
        );
        let alice = account("alice");
        let admitted = (0..10)
            .filter(|_| limiter.admit(&alice, start).is_ok())
            .count();
        assert_eq!(admitted, 3);
        let wait = limiter.admit(&alice, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert!(
            limiter.admit(&alice, start + wait).is_ok(),
            "when it said, it may"
        );
        assert!(limiter.admit(&alice, start + wait).is_err());
        let later = start + Duration::from_secs(60);
        assert_eq!(
            (0..10)
                .filter(|_| limiter.admit(&alice, later).is_ok())
                .count(),
            3
        );
    }

    #[test]
    fn one_account_does_not_use_up_what_everybody_shares() {
        let start = Instant::now();
        let limiter = RateLimiter::new(
            Rate {
                per_second: 1,
                burst: 2,
            },
            Rate {
                per_second: 1,
                burst: 4,
            },
            start,
        );
        let flood = account("flood");
        assert_eq!(
            (0..100)
                .filter(|_| limiter.admit(&flood, start).is_ok())
                .count(),
            2
        );
        let quiet = account("quiet");
        assert_eq!(
            (0..100)
                .filter(|_| limiter.admit(&quiet, start).is_ok())
                .count(),
            2
        );
        assert!(
            limiter.admit(&account("late"), start).is_err(),
            "everybody's share is used up"
        );
    }

    #[test]
    fn accounts_at_rest_take_no_room() {
        let start = Instant::now();
        let rate = Rate {
            per_second: 10,
            burst: 10,
        };
        let limiter = RateLimiter::new(rate, rate, start);
        for number in 0..50 {
            let _ = limiter.admit(&account(&number.to_string()), start);
        }
        let later = start + SWEEP;
        limiter.admit(&account("one"), later).unwrap();
        assert_eq!(limiter.state.lock().unwrap().accounts.len(), 1);
    }
}

//! The boot clock for durations, the wall clock for people.

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};
use segue_port::Clock;
use std::time::Duration;

/// The machine's clocks: `CLOCK_BOOTTIME` goes on while the machine sleeps and is not set.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

fn read_ms(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[async_trait]
impl Clock for SystemClock {
    fn boot_ms(&self) -> u64 {
        read_ms(ClockId::Boottime)
    }

    fn wall_ms(&self) -> u64 {
        read_ms(ClockId::Realtime)
    }

    async fn sleep(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }
}

#[cfg(any(feature = "testing", debug_assertions))]
pub use manual::TestClock;

#[cfg(any(feature = "testing", debug_assertions))]
mod manual {
    use super::{Clock, Duration, async_trait};
    use tokio::sync::watch;

    /// A clock that a test moves, or that every sleep moves by itself.
    #[derive(Debug)]
    pub struct TestClock {
        boot_ms: watch::Sender<u64>,
        wall_start_ms: u64,
        moves_itself: bool,
    }

    impl TestClock {
        /// Builds a clock that stands at `boot_ms` until it is advanced.
        pub fn standing(boot_ms: u64) -> Self {
            let wall_start_ms = 1_700_000_000_000;
            Self { boot_ms: watch::Sender::new(boot_ms), wall_start_ms, moves_itself: false }
        }

        /// Builds a clock on which a sleep takes no time but advances it. For worlds that
        /// answer at once: work that really waits loses every race against a time limit.
        pub fn leaping(boot_ms: u64) -> Self {
            Self { moves_itself: true, ..Self::standing(boot_ms) }
        }

        /// Moves the clock and wakes who slept until then.
        pub fn advance(&self, by: Duration) {
            self.boot_ms.send_modify(|now| *now += by.as_millis() as u64);
        }
    }

    #[async_trait]
    impl Clock for TestClock {
        fn boot_ms(&self) -> u64 {
            *self.boot_ms.borrow()
        }

        fn wall_ms(&self) -> u64 {
            self.wall_start_ms + self.boot_ms()
        }

        async fn sleep(&self, how_long: Duration) {
            if how_long == Duration::MAX {
                return std::future::pending().await;
            }
            let until = self.boot_ms() + how_long.as_millis() as u64;
            if self.moves_itself {
                tokio::task::yield_now().await;
                self.boot_ms.send_modify(|now| *now = until.max(*now));
                return;
            }
            let mut watched = self.boot_ms.subscribe();
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = watched.wait_for(|now| *now >= until).await;
        }
    }
}

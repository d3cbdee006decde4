//! Independent measurements: what a client sees, whether a backend is healthy, and whether
//! requests reach a backend around its front; what certificates are shown; who stays logged in; what logs, hosts and measures of the plan's
//! own say.
//!
//! A probe sends at intended times, whatever happened to the request before, and counts every
//! answer's time from the *intended* moment, so that a stall is not hidden by the probe
//! waiting for it. It never retries. *Failed* is: another status than 200, reset, end of file,
//! no answer 5 s after the intended time, wrong marker in the body.
//!
//! **Invariant.** Nothing here changes anything: only GET, only reading. The commands of a
//! plan are its author's.

mod access_log;
mod app_log;
mod canary;
mod certificates;
mod client;
mod compare;
mod custom;
mod health;
mod host;
mod http_probe;
mod introduced;
mod ledger;
mod preflight;
mod request_times;
mod sessions;
mod tail;
mod tally;
mod tls;

pub use access_log::{AccessLogSampler, Passed, Passing};
pub use app_log::{AppLogSampler, MailLogSampler};
pub use canary::CanarySampler;
pub use certificates::CertificateSampler;
pub use compare::{
    Compared, Comparison, Difference, Kind, Logged, Otherwise, Replayed, compare, logged,
};
pub use custom::CustomSampler;
pub use health::HealthProbe;
pub use host::HostSampler;
pub use http_probe::{Connection, HttpProbe, ProbeSettings};
pub use preflight::preflight;
pub use request_times::{RequestTimes, request_times};
pub use sessions::{LoginSampler, LoginTried, Logins, LoginsOf, logins};
pub use tally::{Interruption, ProbeSecond, ProbeSummary};
pub use tls::Tls;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic of another holder does not spoil plain numbers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

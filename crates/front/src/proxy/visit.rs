//! One request as it is counted.

use super::conn::Conn;
use super::headers::Seen;
use super::stream::Seat;
use crate::clock;
use crate::front::Front;
use crate::limits::Limits;
use crate::log::Entry;
use crate::routes::Site;
use crate::stats::{Answered, Counts};
use crate::upstream::UnderWay;
use http::{Request, StatusCode};
use segue_model::Side;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Under what a request is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// A request of a unit, sent to this side.
    Side(Side),
    /// A request of a unit that another front sent here. That front counts it under a
    /// side; counted there too, it would be two requests.
    Relayed,
    /// A request of no unit.
    Other,
}

/// One request as it is counted; counted once.
pub(crate) struct Visit {
    conn: Arc<Conn>,
    lane: Lane,
    /// The counters of its unit.
    unit: Option<Arc<Counts>>,
    /// Its place beside others of its connection.
    seat: Option<Seat>,
    client: u32,
    began_us: u64,
    forwarded_us: u64,
    answer_us: Option<u64>,
    answered_at_us: u64,
    failed: bool,
    status: Option<StatusCode>,
    probe: bool,
    open: bool,
    /// What the log says of it; in a box, as most fronts write none.
    entry: Option<Box<Entry>>,
    /// How long its answer may take.
    patience: Duration,
    /// Its share of a server's load, where there are several.
    under_way: Option<UnderWay>,
}

/// Who asks, and how that will be counted once it is known where the request goes.
pub(super) struct Visitor {
    unit: Option<Arc<Counts>>,
    seat: Option<Seat>,
    client: u32,
    probe: bool,
    entry: Option<Box<Entry>>,
    patience: Option<Duration>,
}

impl Visitor {
    /// Looks at a request; `probe` if it is one of the run's own.
    pub(super) fn of<B>(
        conn: &Conn,
        request: &Request<B>,
        site: Option<&Site>,
        seat: Option<Seat>,
        seen: Seen,
        probe: bool,
    ) -> Self {
        let headers = request.headers();
        let entry = conn.front().log().map(|log| {
            let unit = site.map(|site| site.gate.unit());
            log.entry(request, unit, conn.address_of(headers, seen))
        });
        Self {
            unit: site.map(|site| site.counts.clone()),
            seat,
            client: conn.client_of(headers, seen),
            probe,
            entry,
            patience: site.and_then(|site| site.answer),
        }
    }

    /// Begins to count it.
    pub(super) fn visit(self, conn: &Arc<Conn>, lane: Lane, began_us: u64) -> Visit {
        let Self { unit, seat, client, probe, entry, patience } = self;
        let mut visit = Visit::begin(conn.clone(), lane, unit, seat, client, began_us, probe);
        visit.entry = entry;
        visit.patience = patience.unwrap_or(visit.patience);
        visit
    }
}

impl Visit {
    /// Begins to count a request of that client; `probe` if it is one of the
    /// run's own.
    pub(super) fn begin(
        conn: Arc<Conn>,
        lane: Lane,
        unit: Option<Arc<Counts>>,
        seat: Option<Seat>,
        client: u32,
        began_us: u64,
        probe: bool,
    ) -> Self {
        let patience = conn.front().limits().answer;
        Self {
            conn,
            lane,
            unit,
            seat,
            client,
            began_us,
            forwarded_us: began_us,
            answer_us: None,
            answered_at_us: 0,
            failed: false,
            status: None,
            probe,
            open: true,
            entry: None,
            patience,
            under_way: None,
        }
    }

    /// The log says this of it.
    pub(super) fn log_as(&mut self, entry: Option<Box<Entry>>) {
        self.entry = entry;
    }

    /// Returns how long the head of the answer may take, and each further part.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// It counts at one of several servers from now on.
    pub(super) fn carry(&mut self, under_way: Option<UnderWay>) {
        self.under_way = under_way;
    }

    pub(super) fn front(&self) -> &Arc<Front> {
        self.conn.front()
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        self.conn.front().limits()
    }

    /// Returns its place beside others of its connection: kept until the backend is done.
    pub(super) fn seat(&self) -> Option<Seat> {
        self.seat.clone()
    }

    /// The request goes to the backend now.
    pub(super) fn forwarded(&mut self) {
        self.forwarded_us = clock::now_us();
    }

    /// The other side is asked after all.
    pub(super) fn turn_to(&mut self, side: Side) {
        if let Lane::Side(own) = &mut self.lane {
            *own = side;
        }
        self.forwarded();
    }

    /// Returns under what it is counted.
    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    /// Returns the side it was sent to, if it is counted under one.
    pub(super) fn side(&self) -> Option<Side> {
        match self.lane {
            Lane::Side(side) => Some(side),
            Lane::Relayed | Lane::Other => None,
        }
    }

    /// Returns how long the answer's head took, microseconds.
    pub(super) fn answer_us(&self) -> Option<u64> {
        self.answer_us
    }

    /// Returns when the head of its answer was there.
    pub(super) fn answered_at_us(&self) -> u64 {
        self.answered_at_us
    }

    /// Returns when its head was there.
    pub(super) fn began_us(&self) -> u64 {
        self.began_us
    }

    /// The head of an answer is there.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.answered_at_us = clock::now_us();
        self.answer_us = Some(self.answered_at_us.saturating_sub(self.forwarded_us));
        self.failed = status.is_server_error();
        self.status = Some(status);
    }

    /// As [`Visit::answered`], of a request whose last part went to the backend at that time: how
    /// long a client sends is not the backend's time.
    pub(super) fn answered_since(&mut self, status: StatusCode, sent: Option<Instant>) {
        self.answered(status);
        if let Some(sent) = sent {
            let since_us = sent.elapsed().as_micros() as u64;
            self.answer_us = self.answer_us.map(|us| us.min(since_us));
        }
    }

    /// The front itself answers so.
    pub(super) fn answered_here(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The answer is over; `cut` if the client did not get all of it through no fault of
    /// its own. Further calls count nothing. Returns the time.
    pub(super) fn end(&mut self, cut: bool) -> u64 {
        self.end_at(clock::now_us(), cut)
    }

    /// As [`Visit::end`], at a time that is known: asking for it costs.
    pub(super) fn end_at(&mut self, now_us: u64, cut: bool) -> u64 {
        if !std::mem::take(&mut self.open) {
            return now_us;
        }
        let answered = Answered {
            answer_us: self.answer_us,
            whole_us: now_us.saturating_sub(self.began_us),
            failed: self.failed || cut,
            status: self.status,
            client: self.client,
            probe: self.probe,
        };
        let front = self.conn.front();
        let hint = self.conn.hint();
        if let (Some(log), Some(entry)) = (front.log(), self.entry.take()) {
            let waited_us = self.forwarded_us.saturating_sub(self.began_us);
            log.write(*entry, &answered, self.side(), waited_us);
        }
        for counts in [Some(front.counts()), self.unit.as_deref()].into_iter().flatten() {
            match self.lane {
                Lane::Side(side) => counts.sides.get(side).count(hint, &answered),
                Lane::Relayed => counts.relayed.count(hint, &answered),
                Lane::Other => {}
            }
            if self.probe && matches!(self.lane, Lane::Side(_)) {
                counts.probes.count(hint, &answered);
            }
        }
        if matches!(self.lane, Lane::Other) {
            front.other_lane().count(hint, &answered);
        }
        now_us
    }
}

impl Drop for Visit {
    /// A client that left before an answer was there is counted, not as failed.
    fn drop(&mut self) {
        self.end(false);
    }
}

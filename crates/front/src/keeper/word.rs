//! What keeper and worker say to each other: a byte each.

/// A word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    // ---- keeper to worker ----
    /// No other worker has requests: said first, or when the former one is gone.
    Alone = b'a',
    /// Another worker has requests: said first.
    Beside = b'b',
    /// A listening socket comes along.
    Socket = b's',
    /// Those were all: take connections.
    Open = b'o',
    /// Not all could be opened: give back what came along, finish and end.
    GiveUp = b'x',
    /// The keeper closed its sockets.
    Closed = b'c',
    /// May another worker take your place? If so, change nothing any more.
    Prepare = b'p',
    /// Nobody takes your place after all.
    KeepOn = b'k',
    /// Another worker serves: finish what runs and end.
    Retire = b'r',
    /// Visitors do not reach the live servers, whoever dies.
    Guarded = b'g',
    /// That could not be brought about, or ended as it was asked to.
    Unguarded = b'u',
    /// New connections are led here again.
    Led = b'l',
    /// New connections may go to the live servers.
    Lost = b't',
    // ---- worker to keeper ----
    /// Ready for the sockets.
    Prepared = b'P',
    /// Connections are taken.
    Ready = b'R',
    /// The front leaves: close your sockets and start nobody any more.
    Leaving = b'L',
    /// Another worker may take my place.
    May = b'Y',
    /// A unit is held.
    MayNot = b'N',
    /// Visitors must not reach the live servers of ports that are redirected.
    Guard = b'G',
    /// They may again.
    Unguard = b'U',
}

impl Word {
    const ALL: [Self; 20] = [
        Self::Alone,
        Self::Beside,
        Self::Socket,
        Self::Open,
        Self::GiveUp,
        Self::Closed,
        Self::Prepare,
        Self::KeepOn,
        Self::Retire,
        Self::Prepared,
        Self::Ready,
        Self::Leaving,
        Self::May,
        Self::MayNot,
        Self::Guarded,
        Self::Unguarded,
        Self::Led,
        Self::Lost,
        Self::Guard,
        Self::Unguard,
    ];

    pub(super) fn byte(self) -> u8 {
        self as u8
    }

    /// Returns the word of a byte; none for one that only another version knows.
    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.byte() == byte)
    }
}

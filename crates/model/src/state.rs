//! State as a fold over the journal. Placeholder until the fold is written.

//! Taking over a listening port from a live server.

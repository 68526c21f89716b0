//! How much of a stream is held. The same on both sides of the gateway, and no more, however large a result is.

/// What is on its way in a stream before it is taken …
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
/// … in all streams of a connection …
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// … and what is handed over before the other side takes it.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;

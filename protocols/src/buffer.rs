//! Payloads that arrive in pieces.

/// A growing buffer is never given more at once than this, or than what it already holds: a peer that declares
/// megabytes and sends nothing costs next to nothing.
const STEP: usize = 16 * 1024;

/// Appends `data`, of which (with it) at most `left` bytes are still to come.
///
/// Grows by doubling, so that any number of pieces takes linear time, but not past the declared end: most payloads
/// then end in a buffer that is exactly full.
pub(crate) fn append_declared(buffer: &mut Vec<u8>, data: &[u8], left: usize) {
    if buffer.capacity().saturating_sub(buffer.len()) < data.len() {
        let more = buffer.len().max(STEP).min(left).max(data.len());
        buffer.reserve_exact(more);
    }
    buffer.extend_from_slice(data);
}

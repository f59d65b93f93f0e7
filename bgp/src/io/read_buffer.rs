//! One read buffer for all sessions of a thread: they read one after the other, and what a session keeps between
//! reads is the beginning of a message at most. A buffer each would be the largest part of an idle session.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

/// Octets read from a socket at a time.
pub(crate) const READ_LEN: usize = 64 * 1024;

/// The longest beginning of a message (RFC 8654).
const MAX_REST: usize = 65_535;

thread_local! {
    static SHARED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads once and gives `take` what `rest` and the socket held; what `take` leaves becomes `rest`.
///
/// Returns how much came from the socket: `Ok(0)` at its end, when `take` is not called.
///
/// # Errors
/// Those of the socket; `WouldBlock` when it holds nothing.
pub(crate) fn read(
    socket: &mut OwnedReadHalf,
    rest: &mut Bytes,
    take: impl FnOnce(usize, &mut &[u8]),
) -> io::Result<usize> {
    let mut shared = SHARED.take();
    shared.resize(MAX_REST + READ_LEN, 0);
    let start = rest.len();
    shared[..start].copy_from_slice(rest);
    let result = try_read(socket, &mut shared[start..start + READ_LEN]);
    if let Ok(len @ 1..) = result {
        let mut received = &shared[..start + len];
        take(len, &mut received);
        *rest = Bytes::copy_from_slice(received);
    }
    SHARED.set(shared);
    result
}

/// As `TcpStream::try_read`, but after a short read tokio takes the socket for empty until the kernel says
/// otherwise: `try_read` would be called once more for each message, in vain.
fn try_read(socket: &mut OwnedReadHalf, into: &mut [u8]) -> io::Result<usize> {
    let mut into = ReadBuf::new(into);
    // Nobody waits here: readiness is awaited elsewhere, and does not pass through this waker.
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(socket).poll_read(&mut context, &mut into) {
        Poll::Ready(Ok(())) => Ok(into.filled().len()),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

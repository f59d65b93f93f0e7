//! Standard error as a place for log lines: a reader who stops reading loses lines, and stops nobody.
//!
//! The daemon is one thread. A write that waits for a log driver would end every session by its hold timer.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A pipe that has room takes this much without waiting (`PIPE_BUF`).
const AT_ONCE: usize = 4096;

static LOST: AtomicU64 = AtomicU64::new(0);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    /// Writes a line, or counts it as lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = LOST.load(Ordering::Relaxed);
        if lost > 0 && write_now(format!("{lost} log lines were lost: nobody took them\n").as_bytes())? {
            LOST.fetch_sub(lost, Ordering::Relaxed);
        }
        for part in line.chunks(AT_ONCE) {
            if !write_now(part)? {
                LOST.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Standard error is not buffered.
        Ok(())
    }
}

/// Writes at most [`AT_ONCE`] octets. Whether there was room for them.
fn write_now(octets: &[u8]) -> io::Result<bool> {
    let mut stderr = io::stderr().lock();
    let mut waits = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    // An error shows itself in the writing.
    if poll(&mut waits, PollTimeout::ZERO).is_ok_and(|ready| ready == 0) {
        return Ok(false);
    }
    stderr.write_all(octets)?;
    Ok(true)
}

//! Lines to standard output without ever waiting for it.
//!
//! Whoever reads our output may stop reading, and a request must not notice. Lines are appended to a bounded buffer
//! and one thread writes it out; when the buffer is full, lines are dropped, counted, and the loss is told in the log
//! itself. The thread collects for a moment before it writes, so that a busy gateway makes one system call for
//! hundreds of lines.

use std::io::Write;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes that may wait to be written.
const CAPACITY: usize = 1024 * 1024;
/// How long lines are collected before they are written.
const COLLECT: Duration = Duration::from_millis(5);
/// How long the last lines may take at the end of the program.
const FLUSH: Duration = Duration::from_secs(2);

/// Where log lines go. Clones share one buffer.
#[derive(Debug, Clone)]
pub struct LogSink(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when there is something to write, or no more to come.
    filled: Condvar,
    /// Told when everything has been written after the end.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    closed: bool,
    finished: bool,
}

/// Ends the writing thread when dropped, after its last lines, or after 2 s when nobody reads them.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl LogSink {
    /// Starts the thread that writes to `output`. `loss` makes the line that tells of dropped lines.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        output: impl Write + Send + 'static,
        loss: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> std::io::Result<(Self, LogWriter)> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_out(output, loss))?;
        Ok((Self(Arc::clone(&shared)), LogWriter { shared, thread: Some(thread) }))
    }

    /// Appends one line, with its line end; drops it when the buffer is full.
    pub fn write_line(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.closed || queue.lines.len() + line.len() > CAPACITY {
            drop(queue);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = queue.lines.is_empty();
        queue.lines.extend_from_slice(line);
        drop(queue);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_out(&self, mut output: impl Write, loss: impl Fn(u64) -> Vec<u8>) {
        let mut lines = Vec::new();
        let mut told = 0;
        loop {
            let mut queue = self.lock();
            while queue.lines.is_empty() && !queue.closed {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.closed {
                queue = self.filled.wait_timeout(queue, COLLECT).unwrap_or_else(PoisonError::into_inner).0;
            }
            mem::swap(&mut queue.lines, &mut lines);
            let closed = queue.closed;
            drop(queue);
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told {
                lines.extend_from_slice(&loss(dropped - told));
                told = dropped;
            }
            // A closed pipe is the reader's choice; there is nobody left to tell.
            let _ = output.write_all(&lines).and_then(|()| output.flush());
            lines.clear();
            // A burst must not keep its buffer for ever.
            lines.shrink_to(64 * 1024);
            if closed {
                self.lock().finished = true;
                self.emptied.notify_all();
                return;
            }
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        let deadline = Instant::now() + FLUSH;
        let mut queue = self.shared.lock();
        while !queue.finished {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.shared.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(queue);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;

    struct Gate {
        open: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.open.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_loses_lines_and_is_told_how_many() {
        let (open, gate) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Gate { open: gate, written: Arc::clone(&written) };
        let (sink, writer) = LogSink::start(output, |count| format!("lost {count}\n").into_bytes()).unwrap();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        // Two buffers' worth at most can be on the way while the output is blocked.
        for _ in 0..3 * 1024 {
            sink.write_line(&line);
        }
        let dropped = sink.dropped();
        assert!(dropped >= 1023, "{dropped}");
        drop(open);
        drop(writer);
        let written = written.lock().unwrap();
        let text = String::from_utf8_lossy(&written);
        let lost: u64 = text.lines().filter_map(|line| line.strip_prefix("lost ")?.parse::<u64>().ok()).sum();
        let whole = text.lines().filter(|line| line.len() == 1023).count() as u64;
        assert_eq!(whole + lost, 3 * 1024);
    }

    #[test]
    fn the_last_lines_are_written_at_the_end() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (open, gate) = mpsc::channel();
        drop(open);
        let output = Gate { open: gate, written: Arc::clone(&written) };
        let (sink, writer) = LogSink::start(output, |_| Vec::new()).unwrap();
        sink.write_line(b"one\n");
        sink.write_line(b"two\n");
        drop(writer);
        assert_eq!(*written.lock().unwrap(), b"one\ntwo\n");
        sink.write_line(b"three\n");
        assert_eq!(sink.dropped(), 1);
    }
}

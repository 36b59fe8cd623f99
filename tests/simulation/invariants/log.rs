//! The log of a run: a fingerprint of all of it, and its last lines.

use std::collections::VecDeque;

use webex_tokend::domain::time::UnixTime;

#[derive(Debug, Default)]
pub(crate) struct RunLog {
    /// The number of lines to keep.
    most: usize,
    lines: VecDeque<String>,
    count: u64,
    hash: u64,
}

impl RunLog {
    pub(super) fn with_capacity(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(super) fn add(&mut self, now: UnixTime, wall: UnixTime, text: &str) {
        let shift = match wall.0 - now.0 {
            0 => String::new(),
            ms => format!(" (clock {ms:+} ms)"),
        };
        let line = format!("{}{shift} {text}", now.to_the_millisecond());
        // FNV-1a: any change of any line changes the fingerprint.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        self.count += 1;
        if self.lines.len() >= self.most {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Equal for equal runs.
    pub(crate) fn fingerprint(&self) -> (u64, u64) {
        (self.count, self.hash)
    }

    pub(crate) fn last_lines(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

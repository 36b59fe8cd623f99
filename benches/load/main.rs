//! Measures the daemon's throughput against minimal servers and clients on the same machine in the same run.
//!
//! ```text
//! cargo bench --bench load                    everything, takes minutes to an hour
//! cargo bench --bench load -- passes reads    only these sections
//! cargo bench --bench load -- --small         everything with small numbers
//! cargo test --bench load                     the same in a debug build: checks counts, prints no times
//! ```
//!
//! The real daemon runs as a separate process. The simulated Webex and the load generator run in this
//! process, and the bare servers run as further processes of this program. Sections: `passes`, `reads`,
//! `handshakes`, `consents`, `command`, `stored`.

#![expect(clippy::print_stdout, reason = "the program prints its results")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed measurement aborts")]
#![expect(clippy::indexing_slicing, reason = "a failed measurement aborts")]
#![expect(clippy::excessive_nesting, reason = "measurements run tasks in loops")]
#![expect(
    clippy::disallowed_methods,
    reason = "this program is not the daemon and has its own tasks and clocks"
)]

mod bare;
mod client;
mod command;
mod consents;
mod daemon;
mod figures;
mod handshakes;
mod passes;
mod persons;
mod plain;
mod reads;
#[path = "../sample_grants.rs"]
mod sample_grants;
mod stored;

use figures::Table;

/// The extent of the measurement.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Whether to use small numbers, which check correctness rather than speed.
    small: bool,
}

impl Size {
    /// `full`, or `small` with small numbers.
    fn of(self, full: usize, small: usize) -> usize {
        if self.small { small } else { full }
    }
}

const SECTIONS: [&str; 6] = ["passes", "reads", "handshakes", "consents", "command", "stored"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|word| word == bare::WORD) {
        return bare::serve(&arguments[at + 1..]);
    }
    // Only `cargo bench` passes `--bench`.
    let measures = arguments.iter().any(|word| word == "--bench");
    let size = Size { small: !measures || arguments.iter().any(|word| word == "--small") };
    let named: Vec<&str> =
        SECTIONS.into_iter().filter(|name| arguments.iter().any(|word| word == name)).collect();
    let wanted = if named.is_empty() { SECTIONS.to_vec() } else { named };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&wanted, size));
}

async fn run(wanted: &[&str], size: Size) {
    let mut table = Table::new(size.small);
    for name in wanted {
        match *name {
            "passes" => passes::measure(&mut table, size).await,
            "reads" => reads::measure(&mut table, size).await,
            "handshakes" => handshakes::measure(&mut table, size).await,
            "consents" => consents::measure(&mut table, size).await,
            "command" => command::measure(&mut table, size).await,
            _ => stored::measure(&mut table, size).await,
        }
    }
    println!("{table}");
}

//! Sends many requests to the API, several at once. Ctrl-C stops it: requests that were sent are answered, no other is sent.

use std::collections::VecDeque;
use std::io;
use std::process;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::Signal as Kind;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::signal::unix::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api_types::RefreshLimitsView;
use crate::cli::api_client::API;
use crate::cli::api_client::SharedApi;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::print_stderr;
use crate::services::signals;

/// A request waits at most this long for its start, if others of the same command go first.
const MAX_START_WAIT: f64 = 10.0;

/// Each request has a connection of its own, and other commands need some of the control socket's.
const MAX_AT_ONCE: usize = 32;

/// How a command ended that sends many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BulkEnd {
    /// Everything was sent and answered.
    Complete,
    /// A signal has stopped it.
    Interrupted,
}

/// What a command does with its requests.
pub(super) trait BulkCommand {
    /// What one request is about.
    type Item: Send;
    /// The response.
    type Reply: Send;

    /// The item of the next request; `None` if there is none.
    ///
    /// # Errors
    /// [`CommandError`] ends the command.
    fn next(&mut self) -> Result<Option<Self::Item>, CommandError>;

    /// Whether there may be an item for another request.
    fn has_more(&self) -> bool;

    /// Takes the response. Answers how long to wait before the next request, if Webex asks for that.
    ///
    /// # Errors
    /// [`CommandError`] ends the command when the requests under way are answered.
    fn answered(&mut self, item: Self::Item, reply: Self::Reply) -> Result<Option<Duration>, CommandError>;
}

/// The part of `GET /status` that says how many requests to send.
#[derive(Deserialize)]
struct LimitsStatus {
    refresh_limits: Option<RefreshLimitsView>,
}

/// How many requests to send at once, so that the daemon is never idle and none waits long. A daemon of another version, or one
/// that cannot say, gets one request after another.
pub(super) fn requests_at_once(api: SharedApi<'_>) -> usize {
    let status: Option<LimitsStatus> = api.get(&format!("{API}/status")).ok();
    status.and_then(|status| status.refresh_limits).map_or(1, |limits| at_once(&limits))
}

fn at_once(limits: &RefreshLimitsView) -> usize {
    let concurrency = usize::try_from(limits.concurrency).unwrap_or(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    let starts = limits.per_second.map_or(usize::MAX, |rate| (rate * MAX_START_WAIT).ceil() as usize);
    concurrency.min(starts).clamp(1, MAX_AT_ONCE)
}

enum BulkEvent<T, R> {
    Answered(T, R),
    Interrupted,
}

/// Sends the requests of `command` by `send`, `at_once` at a time.
///
/// # Errors
/// The first [`CommandError`] of the command, after the requests under way are answered.
pub(super) fn run<C: BulkCommand>(
    api: SharedApi<'_>,
    at_once: usize,
    command: &mut C,
    send: impl Fn(SharedApi<'_>, &C::Item) -> C::Reply + Sync,
) -> Result<BulkEnd, CommandError> {
    let failed = |e: io::Error| CommandError::new(Exit::Failed, format!("cannot handle signals: {e}"));
    let interrupts = Interrupts::new().map_err(failed)?;
    let ended = interrupts.ended.clone();
    // If this process is the daemon, it waits for Webex in any case.
    let may_exit = matches!(api, SharedApi::Daemon(_));
    let (items, queue) = channel::<C::Item>();
    let (events, incoming) = channel();
    let (queue, send) = (Mutex::new(queue), &send);
    thread::scope(|scope| {
        for _ in 0..at_once {
            let (events, queue) = (events.clone(), &queue);
            scope.spawn(move || send_items(queue, &events, |item| send(api, item)));
        }
        scope.spawn(move || interrupts.watch(may_exit, || events.send(BulkEvent::Interrupted).is_ok()));
        let end = Ok(BulkEnd::Complete);
        let done = Feeder { items, incoming, at_once, may_exit, under_way: 0, hold: None, more: true, end }
            .feed(command);
        ended.cancel();
        done
    })
}

/// Sends one item after another until there are no more.
fn send_items<T, R>(queue: &Mutex<Receiver<T>>, events: &Sender<BulkEvent<T, R>>, send: impl Fn(&T) -> R) {
    while let Some(item) = next_item(queue) {
        let reply = send(&item);
        if events.send(BulkEvent::Answered(item, reply)).is_err() {
            return;
        }
    }
}

fn next_item<T>(queue: &Mutex<Receiver<T>>) -> Option<T> {
    queue.lock().recv().ok()
}

/// Gives the threads their items, and the command its responses. Dropping it ends the threads.
struct Feeder<T, R> {
    items: Sender<T>,
    incoming: Receiver<BulkEvent<T, R>>,
    at_once: usize,
    /// Whether a second signal ends the process.
    may_exit: bool,
    under_way: usize,
    /// No request is sent before this time.
    hold: Option<Instant>,
    /// Whether another request may be sent.
    more: bool,
    end: Result<BulkEnd, CommandError>,
}

impl<T, R> Feeder<T, R> {
    fn feed(mut self, command: &mut impl BulkCommand<Item = T, Reply = R>) -> Result<BulkEnd, CommandError> {
        loop {
            while self.more && self.hold.is_none() && self.under_way < self.at_once {
                let next = command.next();
                self.send(next);
            }
            if self.under_way == 0 && !self.more {
                return self.end;
            }
            match self.wait() {
                Some(BulkEvent::Answered(item, reply)) => {
                    self.under_way -= 1;
                    let wait = command.answered(item, reply);
                    self.continue_after(wait, command.has_more());
                }
                Some(BulkEvent::Interrupted) => self.interrupt(),
                None => self.hold = None,
            }
        }
    }

    fn send(&mut self, next: Result<Option<T>, CommandError>) {
        match next {
            // The threads live as long as the feeder.
            Ok(Some(item)) => self.under_way += usize::from(self.items.send(item).is_ok()),
            Ok(None) => self.more = false,
            Err(why) => self.fail(why),
        }
    }

    fn continue_after(&mut self, wait: Result<Option<Duration>, CommandError>, has_more: bool) {
        match wait {
            Ok(wait) => self.hold_for(wait.filter(|_| self.more && has_more)),
            Err(why) => self.fail(why),
        }
    }

    /// The first failure counts.
    fn fail(&mut self, why: CommandError) {
        self.more = false;
        if self.end.is_ok() {
            self.end = Err(why);
        }
    }

    fn interrupt(&mut self) {
        self.more = false;
        if self.end.is_ok() {
            self.end = Ok(BulkEnd::Interrupted);
        }
        if self.under_way > 0 {
            let requests = if self.under_way == 1 { "request that was" } else { "requests that were" };
            let again = if self.may_exit { "; press Ctrl-C again to stop at once" } else { "" };
            print_stderr(&format!("stopping: waiting for {} {requests} sent{again}", self.under_way));
        }
    }

    /// The next event; `None` when the hold is over.
    fn wait(&self) -> Option<BulkEvent<T, R>> {
        let Some(hold) = self.hold.filter(|_| self.more) else { return self.incoming.recv().ok() };
        self.incoming.recv_timeout(hold.saturating_duration_since(Instant::now())).ok()
    }

    fn hold_for(&mut self, wait: Option<Duration>) {
        let Some(wait) = wait else { return };
        let until = Instant::now() + wait;
        if self.hold.is_none_or(|hold| hold + Duration::from_secs(1) <= until) {
            let seconds = wait.as_secs();
            print_stderr(&format!("Webex asks to wait: the next grant is sent in {seconds} s"));
            self.hold = Some(until);
        }
    }
}

/// The signals that stop a command.
struct Interrupts {
    runtime: Runtime,
    handled: [Signal; 2],
    ended: CancellationToken,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let handled = [signals::handle(Kind::INT)?, signals::handle(Kind::TERM)?];
        drop(entered);
        Ok(Self { runtime, handled, ended: CancellationToken::new() })
    }

    /// Calls `stop` at the first signal. At the second one, ends the process if it may.
    fn watch(self, may_exit: bool, stop: impl Fn() -> bool) {
        let [mut interrupt, mut terminate] = self.handled;
        let mut signals = 0;
        loop {
            let signalled = self.runtime.block_on(async {
                tokio::select! {
                    () = self.ended.cancelled() => false,
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => true,
                }
            });
            if !signalled {
                return;
            }
            signals += 1;
            if signals > 1 && may_exit {
                print_stderr(
                    "stopped at once: the daemon may still complete requests that were sent, and a file that this command \
                     writes is incomplete",
                );
                process::exit(Exit::Failed as i32);
            }
            if !stop() {
                return;
            }
        }
    }
}

/// Counts answers, to know their rate. It is the rate of the last half minute.
#[derive(Debug)]
pub(super) struct AnswerRate {
    since: VecDeque<(Instant, usize)>,
}

const RATE_WINDOW: Duration = Duration::from_secs(30);

impl AnswerRate {
    pub(super) fn new() -> Self {
        Self { since: VecDeque::from([(Instant::now(), 0)]) }
    }

    /// The answers a second, if there were this many in total by now. `None` within the first second.
    #[expect(clippy::cast_precision_loss, reason = "numbers of grants are far below 2^52")]
    pub(super) fn at(&mut self, answers: usize) -> Option<f64> {
        let now = Instant::now();
        if self.since.back().is_none_or(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1)) {
            self.since.push_back((now, answers));
        }
        while self.since.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            self.since.pop_front();
        }
        let (from, before) = self.since.front()?;
        let span = now.duration_since(*from).as_secs_f64();
        (span >= 1.0).then(|| answers.saturating_sub(*before) as f64 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_leaves_connections_of_the_control_socket_to_others() {
        let limits = |concurrency, per_second| RefreshLimitsView { concurrency, per_second };
        assert_eq!(at_once(&limits(1024, None)), MAX_AT_ONCE);
        assert_eq!(at_once(&limits(16, Some(20.0))), 16);
        assert_eq!(at_once(&limits(16, Some(0.5))), 5);
        assert_eq!(at_once(&limits(16, Some(0.01))), 1);
    }
}

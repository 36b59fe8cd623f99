//! Limits the open event streams. Each costs a task and a connection for as long as the client likes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Maximum number of streams.
const MAX_SUBSCRIBERS: usize = 64;

/// Maximum for one key, one session, or the control socket as a whole. A client that leaks streams must not
/// lock the others out.
const MAX_PER_CALLER: usize = 16;

/// Streams reserved for callers that have none yet. A few clients that leak streams must not lock the others
/// out together.
const RESERVED_FOR_NEW_CALLERS: usize = 16;

/// Open streams, counted by caller.
#[derive(Clone, Default)]
pub(in crate::http) struct SubscriberLimit(Arc<Mutex<HashMap<String, usize>>>);

/// One open stream, released on drop.
pub(in crate::http) struct SubscriberPermit {
    all: SubscriberLimit,
    name: String,
}

impl SubscriberLimit {
    /// A permit for `name`. `None` if a limit is reached.
    pub(in crate::http) fn acquire(&self, name: String) -> Option<SubscriberPermit> {
        let mut places = self.0.lock();
        let (all, own) = (places.values().sum::<usize>(), places.get(&name).copied().unwrap_or(0));
        let is_full =
            all >= if own == 0 { MAX_SUBSCRIBERS } else { MAX_SUBSCRIBERS - RESERVED_FOR_NEW_CALLERS };
        if is_full || own >= MAX_PER_CALLER {
            return None;
        }
        places.insert(name.clone(), own + 1);
        Some(SubscriberPermit { all: self.clone(), name })
    }
}

impl Drop for SubscriberPermit {
    fn drop(&mut self) {
        let mut places = self.all.0.lock();
        let left = places.get(&self.name).copied().unwrap_or(0).saturating_sub(1);
        if left > 0 {
            places.insert(self.name.clone(), left);
        } else {
            places.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_never_takes_every_permit_and_permits_are_returned() {
        let all = SubscriberLimit::default();
        let take = |name: &str| all.acquire(name.to_owned());
        let mut places: Vec<SubscriberPermit> = (0..MAX_PER_CALLER).map(|_| take("one").unwrap()).collect();
        assert!(take("one").is_none());
        places.extend(
            (0..MAX_SUBSCRIBERS - RESERVED_FOR_NEW_CALLERS - MAX_PER_CALLER)
                .map(|n| take(&format!("{}", n / 16)).unwrap()),
        );
        assert!(take("0").is_none() && take("1").is_none());
        places.extend((0..RESERVED_FOR_NEW_CALLERS).map(|n| take(&format!("new caller {n}")).unwrap()));
        assert!(take("another").is_none());
        places.pop();
        places.push(take("another").unwrap());
        assert!(take("another").is_none());
        drop(places);
        assert!(all.0.lock().is_empty());
    }
}

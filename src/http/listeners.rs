//! How many watch the events at once: each costs a task and a connection for as long as it likes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// All together.
const MOST: usize = 64;

/// One key, one session, or all of the control socket: a program that leaks streams must not shut the others out.
const MOST_OF_ONE: usize = 16;

/// The last of all places are for those who have none yet: a few programs that leak streams must not shut the others
/// out together, either.
const FOR_NEWCOMERS: usize = 16;

/// Whoever watches, counted by name.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<HashMap<String, usize>>>);

/// A place among them, given back when it is dropped.
pub(super) struct Place {
    all: Listeners,
    name: String,
}

impl Listeners {
    /// A place for `name`, if there is one.
    pub(super) fn take(&self, name: String) -> Option<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (places.values().sum::<usize>(), places.get(&name).copied().unwrap_or(0));
        let is_full = all >= if own == 0 { MOST } else { MOST - FOR_NEWCOMERS };
        if is_full || own >= MOST_OF_ONE {
            return None;
        }
        places.insert(name.clone(), own + 1);
        Some(Place { all: self.clone(), name })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn nobody_takes_every_place_and_places_come_back() {
        let all = Listeners::default();
        let take = |name: &str| all.take(name.to_owned());
        let mut places: Vec<Place> = (0..MOST_OF_ONE).map(|_| take("one").unwrap()).collect();
        assert!(take("one").is_none());
        places.extend((0..MOST - FOR_NEWCOMERS - MOST_OF_ONE).map(|n| take(&format!("{}", n / 16)).unwrap()));
        assert!(take("0").is_none() && take("1").is_none());
        places.extend((0..FOR_NEWCOMERS).map(|n| take(&format!("newcomer {n}")).unwrap()));
        assert!(take("another").is_none());
        places.pop();
        places.push(take("another").unwrap());
        assert!(take("another").is_none());
        drop(places);
        assert!(all.0.lock().unwrap().is_empty());
    }
}

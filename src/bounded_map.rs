//! A bounded map that keeps the most recently used entries (an approximate LRU cache).

use std::collections::HashMap;
use std::hash::Hash;

/// A map in two generations: when the young one is full, it replaces the old one, whose entries are dropped unless they were
/// used since. So the entries used last stay, at least `capacity` and at most twice as many.
#[derive(Debug)]
pub struct BoundedMap<K, V> {
    capacity: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> BoundedMap<K, V> {
    /// An empty map. Each of the two generations has up to `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of `key`, which now counts as used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// The value of `key`, which does not count as used.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Sets the value of `key`, which counts as used.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Removes `key` from both generations.
    pub fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 8;

    fn filled(keys: std::ops::Range<usize>) -> BoundedMap<usize, usize> {
        let mut map = BoundedMap::new(CAPACITY);
        keys.for_each(|key| map.insert(key, key));
        map
    }

    #[test]
    fn the_map_is_bounded_and_keeps_the_newest_entries() {
        for number in 0..10 * CAPACITY {
            let map = filled(0..number);
            assert!(map.young.len() <= CAPACITY && map.old.len() <= CAPACITY);
            for key in number.saturating_sub(CAPACITY)..number {
                assert_eq!(map.peek(&key), Some(&key), "{number} entries");
            }
        }
    }

    #[test]
    fn an_entry_that_is_used_again_stays() {
        let mut map = filled(0..1);
        for other in 1..10 * CAPACITY {
            map.insert(other, other);
            assert_eq!(map.get(&0), Some(&0), "after {other} others");
        }
        let mut map = filled(0..1);
        for other in 1..=2 * CAPACITY {
            assert!(map.peek(&0).is_some() || other > CAPACITY, "after {other} others");
            map.insert(other, other);
        }
        assert_eq!(map.peek(&0), None, "a look does not count as use");
    }

    #[test]
    fn an_entry_is_removed_from_both_generations() {
        for others in 0..CAPACITY {
            let mut map = filled(0..1 + others);
            map.insert(0, 100);
            map.remove(&0);
            assert_eq!(map.peek(&0), None);
        }
        let mut map = filled(0..CAPACITY + 1);
        map.remove(&0);
        map.remove(&CAPACITY);
        assert_eq!((map.peek(&0), map.peek(&CAPACITY)), (None, None));
    }
}

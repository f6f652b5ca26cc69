//! An ordered list in shared chunks: a sorted sequence that is cheap to extend at the end, to drop from the
//! front, and to photograph.
//!
//! Invariants:
//! * Items are strictly increasing by [`Keyed::key`]; no chunk is empty; no chunk exceeds [`CHUNK_MAX`] items.
//! * [`Chunked::clone`] copies no item. A chunk that a clone still holds is copied when it is next changed, so a
//!   snapshot costs one pointer per chunk under the engine's lock.

use std::collections::VecDeque;
use std::sync::Arc;

/// Items per chunk. Larger chunks make clones cheaper and single changes dearer.
const CHUNK_MAX: usize = 128;
/// A chunk that shrinks below this is joined with its neighbour where both fit.
const CHUNK_JOIN: usize = 24;

/// What orders an item in a [`Chunked`] list.
pub(crate) trait Keyed: Copy {
    type Key: Ord + Copy;
    fn key(&self) -> Self::Key;
}

#[derive(Debug, Clone)]
pub(crate) struct Chunked<T> {
    chunks: VecDeque<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }
}

/// Where an item stands: chunk and index in it. Valid until the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    chunk: usize,
    index: usize,
}

impl<T: Keyed> Chunked<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.chunks.front()?.first()
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.chunks.back()?.last()
    }

    pub(crate) fn get(&self, key: T::Key) -> Option<&T> {
        let place = self.find(key).ok()?;
        Some(&self.chunks[place.chunk][place.index])
    }

    pub(crate) fn get_mut(&mut self, key: T::Key) -> Option<&mut T> {
        let place = self.find(key).ok()?;
        Some(&mut Arc::make_mut(&mut self.chunks[place.chunk])[place.index])
    }

    /// All items from the first that satisfies `reached` on; `reached` must be false, then true, along the list.
    pub(crate) fn iter_from(&self, reached: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let place = self.partition(&reached);
        self.chunks.iter().skip(place.chunk).enumerate().flat_map(move |(nth, chunk)| {
            chunk[if nth == 0 { place.index.min(chunk.len()) } else { 0 }..].iter()
        })
    }

    /// The items before the first that satisfies `reached`, last one first.
    pub(crate) fn iter_back_from(&self, reached: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let place = self.partition(&reached);
        let upto = (place.chunk + 1).min(self.chunks.len());
        self.chunks.range(..upto).rev().enumerate().flat_map(move |(nth, chunk)| {
            let end =
                if nth == 0 && upto == place.chunk + 1 { place.index.min(chunk.len()) } else { chunk.len() };
            chunk[..end].iter().rev()
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Adds an item that is greater than all others.
    pub(crate) fn push(&mut self, item: T) {
        debug_assert!(self.last().is_none_or(|last| last.key() < item.key()), "pushed out of order");
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK_MAX => Arc::make_mut(chunk).push(item),
            _ => self.chunks.push_back(Arc::new(vec![item])),
        }
        self.len += 1;
    }

    /// Adds an item, or replaces the one with the same key; returns what it replaced.
    pub(crate) fn insert(&mut self, item: T) -> Option<T> {
        if self.last().is_none_or(|last| last.key() < item.key()) {
            self.push(item);
            return None;
        }
        match self.find(item.key()) {
            Ok(place) => {
                let slot = &mut Arc::make_mut(&mut self.chunks[place.chunk])[place.index];
                Some(std::mem::replace(slot, item))
            }
            Err(place) => {
                self.insert_at(place, item);
                None
            }
        }
    }

    fn insert_at(&mut self, mut place: Place, item: T) {
        if self.chunks[place.chunk].len() >= CHUNK_MAX {
            let upper = Arc::make_mut(&mut self.chunks[place.chunk]).split_off(CHUNK_MAX / 2);
            self.chunks.insert(place.chunk + 1, Arc::new(upper));
            if place.index > CHUNK_MAX / 2 {
                place = Place { chunk: place.chunk + 1, index: place.index - CHUNK_MAX / 2 };
            }
        }
        Arc::make_mut(&mut self.chunks[place.chunk]).insert(place.index, item);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, key: T::Key) -> Option<T> {
        let place = self.find(key).ok()?;
        let chunk = Arc::make_mut(&mut self.chunks[place.chunk]);
        let item = chunk.remove(place.index);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(place.chunk);
        } else if chunk.len() < CHUNK_JOIN {
            self.join(place.chunk);
        }
        Some(item)
    }

    /// Drops items from the front while `gone` says so; returns how many.
    pub(crate) fn drop_front(&mut self, gone: impl Fn(&T) -> bool, mut each: impl FnMut(&T)) -> usize {
        let mut dropped = 0;
        while let Some(chunk) = self.chunks.front_mut() {
            let n = chunk.iter().take_while(|item| gone(item)).count();
            chunk[..n].iter().for_each(&mut each);
            dropped += n;
            if n < chunk.len() {
                if n > 0 {
                    Arc::make_mut(chunk).drain(..n);
                }
                break;
            }
            self.chunks.pop_front();
        }
        self.len -= dropped;
        dropped
    }

    fn join(&mut self, at: usize) {
        let Some(next) = self.chunks.get(at + 1) else { return };
        if self.chunks[at].len() + next.len() > CHUNK_MAX / 2 {
            return;
        }
        let next = self.chunks.remove(at + 1).expect("looked at it above");
        Arc::make_mut(&mut self.chunks[at]).extend_from_slice(&next);
    }

    fn find(&self, key: T::Key) -> Result<Place, Place> {
        // Acknowledgements come mostly in order, so the first chunk is worth a look before searching.
        let chunk = match self.chunks.front() {
            None => return Err(Place { chunk: 0, index: 0 }),
            Some(first) if first.last().is_some_and(|item| key <= item.key()) => 0,
            Some(_) => {
                let after = self.chunks.partition_point(|c| c.last().is_some_and(|item| item.key() < key));
                after.min(self.chunks.len() - 1)
            }
        };
        match self.chunks[chunk].binary_search_by(|item| item.key().cmp(&key)) {
            Ok(index) => Ok(Place { chunk, index }),
            Err(index) => Err(Place { chunk, index }),
        }
    }

    fn partition(&self, reached: &impl Fn(&T) -> bool) -> Place {
        let chunk = self.chunks.partition_point(|c| c.last().is_some_and(|item| !reached(item)));
        let index = self.chunks.get(chunk).map_or(0, |c| c.partition_point(|item| !reached(item)));
        Place { chunk, index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    impl Keyed for u32 {
        type Key = Self;
        fn key(&self) -> Self {
            *self
        }
    }

    /// A small deterministic generator, so that the test needs no crate.
    fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_with(move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        })
    }

    #[test]
    fn behaves_like_a_sorted_set() {
        let (mut list, mut model) = (Chunked::<u32>::default(), BTreeSet::new());
        let mut photographs = Vec::new();
        for (step, n) in numbers(7).take(60_000).enumerate() {
            let value = (n >> 8) as u32 % 4_000;
            match n % 8 {
                0..=3 => assert_eq!(list.insert(value).is_none(), model.insert(value)),
                4..=6 => assert_eq!(list.remove(value).is_some(), model.remove(&value)),
                _ if n % 64 == 7 => {
                    let below = value / 16;
                    let dropped = list.drop_front(|item| *item < below, |_| ());
                    assert_eq!(dropped, model.range(..below).count());
                    model.retain(|item| *item >= below);
                }
                _ => {}
            }
            assert_eq!(list.len(), model.len());
            if step % 997 == 0 {
                assert!(list.iter().eq(model.iter()));
                assert!(list.iter_from(|i| *i >= value).eq(model.range(value..)));
                assert!(list.iter_back_from(|i| *i >= value).eq(model.range(..value).rev()));
                photographs.push((list.clone(), model.clone()));
            }
        }
        for (list, model) in photographs {
            assert!(list.iter().eq(model.iter()), "a photograph changed");
        }
    }
}

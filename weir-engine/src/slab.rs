//! Numbered slots in chunks, so that a million of them grow without moving the others.

const CHUNK: usize = 1024;

/// Values by slot number. Freed slots are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    next: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), next: 0, len: 0 }
    }
}

impl<T> Slab<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest slot ever used.
    pub(crate) fn end(&self) -> u32 {
        self.next
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            self.chunks[slot as usize / CHUNK][slot as usize % CHUNK] = Some(value);
            return slot;
        }
        let slot = self.next;
        self.next += 1;
        if (slot as usize).is_multiple_of(CHUNK) {
            // The first chunk grows as needed, so that a small engine stays small.
            self.chunks.push(Vec::with_capacity(if slot == 0 { 4 } else { CHUNK }));
        }
        self.chunks[slot as usize / CHUNK].push(Some(value));
        slot
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.as_mut()
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, values)| {
            values
                .iter()
                .enumerate()
                .filter_map(move |(n, value)| Some(((chunk * CHUNK + n) as u32, value.as_ref()?)))
        })
    }
}

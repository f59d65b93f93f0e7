//! Values stored once, counted, and named by a number: the interfaces of pods come and go by the thousand.

use std::collections::HashMap;
use std::hash::Hash;

/// See the module.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    values: Vec<(T, u32)>,
    ids: HashMap<T, u32, foldhash::fast::RandomState>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            values: Vec::new(),
            ids: HashMap::default(),
            free: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Slab<T> {
    /// The value's number; takes one count.
    pub(crate) fn retain(&mut self, value: T) -> u32 {
        if let Some(&id) = self.ids.get(&value) {
            self.values[id as usize].1 += 1;
            return id;
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.values[id as usize] = (value.clone(), 1);
                id
            }
            None => {
                self.values.push((value.clone(), 1));
                (self.values.len() - 1) as u32
            }
        };
        self.ids.insert(value, id);
        id
    }

    /// Gives one count back; after the last one the number may mean something else.
    pub(crate) fn release(&mut self, id: u32) {
        let (value, count) = &mut self.values[id as usize];
        *count -= 1;
        if *count == 0 {
            self.ids.remove(value);
            self.free.push(id);
        }
    }

    pub(crate) fn get(&self, id: u32) -> &T {
        &self.values[id as usize].0
    }

    /// The values in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.values)
            .filter(|(_, (_, count))| *count > 0)
            .map(|(id, (value, _))| (id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_when_its_value_has_gone() {
        let mut slab = Slab::default();
        let a = slab.retain("a");
        assert_eq!(slab.retain("a"), a);
        let b = slab.retain("b");
        slab.release(a);
        assert_eq!(slab.get(a), &"a", "one count is left");
        slab.release(a);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(b, &"b")]);
        assert_eq!(slab.retain("c"), a);
    }
}

//! Numbers on the heap, or in a file without a name: what is read once a step need not stay in memory.

use std::fmt;
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::path::Path;

use bytemuck::Pod;
use memmap2::{Advice, MmapMut, MmapOptions};

/// Fewer bytes than this stay on the heap: a mapping costs a page and an entry of the system.
const SMALL: usize = 1 << 16;

/// A fixed number of values, all zero at first, on the heap or in a mapped file.
pub struct Stored<T: Pod>(Place<T>);

enum Place<T: Pod> {
    Heap(Vec<T>),
    /// Of so many values.
    File(MmapMut, usize),
}

impl<T: Pod> Stored<T> {
    /// So many zeros on the heap.
    pub fn zeros(len: usize) -> Self {
        Self(Place::Heap(vec![T::zeroed(); len]))
    }

    /// So many zeros in a file in `folder`, which has no name and is gone with this value or the process, however it
    /// ends. Without a folder, and if they are few, they are on the heap. The whole file is written first: a full disk
    /// is an error here, not later.
    ///
    /// # Errors
    /// The folder takes no file, or the disk is full; never without a folder.
    pub fn zeros_in(folder: Option<&Path>, len: usize) -> io::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::zeros(len)) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes < SMALL {
            return Ok(Self::zeros(len));
        }
        let mut file = tempfile::tempfile_in(folder)?;
        io::copy(&mut io::repeat(0).take(bytes as u64), &mut file)?;
        // SAFETY: the file has no name and its only handle ends here, so nobody else can change or shorten it.
        let map = unsafe { MmapOptions::new().len(bytes).map_mut(&file)? };
        Ok(Self(Place::File(map, len)))
    }

    /// Says that the values are needed soon, so that the disk may begin. Only a hint.
    pub fn fetch(&self) {
        #[cfg(unix)]
        if let Place::File(map, _) = &self.0 {
            let _ = map.advise(Advice::WillNeed);
        }
    }

    /// Says that the values are not needed soon: their memory is handed back, the file keeps them. Only a hint.
    pub fn release(&mut self) {
        #[cfg(unix)]
        if let Place::File(map, _) = &self.0 {
            // SAFETY: the pages of a shared mapping are the file's; they are read again when they are needed.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl<T: Pod> Deref for Stored<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &self.0 {
            Place::Heap(values) => values,
            // A mapping begins on a page and any bits are a value.
            Place::File(map, len) => &bytemuck::cast_slice(map)[..*len],
        }
    }
}

impl<T: Pod> DerefMut for Stored<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Place::Heap(values) => values,
            Place::File(map, len) => &mut bytemuck::cast_slice_mut(map)[..*len],
        }
    }
}

impl<T: Pod> From<Vec<T>> for Stored<T> {
    fn from(values: Vec<T>) -> Self {
        Self(Place::Heap(values))
    }
}

/// A copy on the heap.
impl<T: Pod> Clone for Stored<T> {
    fn clone(&self) -> Self {
        self.to_vec().into()
    }
}

impl<T: Pod + PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_was_written_and_released() {
        let folder = tempfile::tempdir().unwrap();
        for len in [0, 5, 16_384, 40_001] {
            let mut stored = Stored::<f32>::zeros_in(Some(folder.path()), len).unwrap();
            assert!(stored.len() == len && stored.iter().all(|value| *value == 0.0));
            stored.iter_mut().enumerate().for_each(|(index, value)| *value = index as f32);
            stored.release();
            stored.fetch();
            assert!(stored.iter().enumerate().all(|(index, value)| *value == index as f32));
            assert!(stored.clone() == stored);
            // Nothing to clean up after a crash.
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        let gone = folder.path().join("gone");
        assert!(Stored::<u8>::zeros_in(Some(&gone), 1 << 20).is_err());
    }
}

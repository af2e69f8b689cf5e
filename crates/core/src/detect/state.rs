//! Saved state: every field in order, little-endian, of a fixed length.

/// A value that saves itself.
pub(super) trait State {
    /// Appends the value.
    fn put(&self, bytes: &mut Vec<u8>);
    /// Replaces the value by the next bytes; `None` if too few are left.
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()>;
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl State for $number {
            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
            fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
                let (head, rest) = bytes.split_first_chunk()?;
                *self = Self::from_le_bytes(*head);
                *bytes = rest;
                Some(())
            }
        }
    )*};
}

number!(u8, u16, u32, i32, i64, f32, f64);

impl<T: State, const N: usize> State for [T; N] {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(bytes));
    }
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        self.iter_mut().try_for_each(|value| value.take(bytes))
    }
}

/// Implements [`State`] for a struct from the names of its fields.
macro_rules! state {
    ($name:ident $(<const $n:ident>)? { $($field:ident),* $(,)? }) => {
        impl $(<const $n: usize>)? $crate::detect::state::State for $name $(<$n>)? {
            fn put(&self, bytes: &mut Vec<u8>) {
                $($crate::detect::state::State::put(&self.$field, bytes);)*
            }
            fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
                $($crate::detect::state::State::take(&mut self.$field, bytes)?;)*
                Some(())
            }
        }
    };
}

pub(super) use state;

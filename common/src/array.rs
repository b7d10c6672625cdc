//! An array value: elements of one type in up to six dimensions, each with its own lower bound.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::datum::Datum;

/// The most dimensions that an array has.
pub const DIMENSIONS_MAX: usize = 6;
/// The most elements that an array has: PostgreSQL's limit.
pub const ELEMENTS_MAX: usize = 134_217_727;

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dimension {
    /// At least 1.
    pub length: i32,
    /// The subscript of the first element.
    pub lower: i32,
}

impl Dimension {
    /// The subscript of the last element.
    pub fn upper(self) -> i32 {
        self.lower.wrapping_add(self.length - 1)
    }

    /// How many elements lie before the subscript; `None` outside of the dimension.
    pub fn offset(self, subscript: i32) -> Option<usize> {
        let offset = i64::from(subscript) - i64::from(self.lower);
        usize::try_from(offset).ok().filter(|_| offset < i64::from(self.length))
    }
}

/// An array: its elements in row-major order, the last dimension running fastest. An empty array has no dimension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Array {
    dimensions: Vec<Dimension>,
    elements: Vec<Datum>,
}

impl Array {
    /// An array of these dimensions; `None` when the number of elements is not theirs.
    pub fn new(dimensions: Vec<Dimension>, elements: Vec<Datum>) -> Option<Self> {
        if elements.is_empty() {
            return Some(Self::default());
        }
        (dimensions.len() <= DIMENSIONS_MAX && element_count(&dimensions)? == elements.len()).then_some(Self { dimensions, elements })
    }

    /// The dimensions, the outermost first.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The elements in row-major order.
    pub fn into_elements(self) -> Vec<Datum> {
        self.elements
    }

    /// An array of the same shape; the elements must be as many.
    pub fn with_elements(&self, elements: Vec<Datum>) -> Self {
        debug_assert_eq!(elements.len(), self.elements.len(), "a shape has a fixed number of elements");
        Self { dimensions: self.dimensions.clone(), elements }
    }

    /// The same shape with other elements, made one by one.
    pub fn try_map<E>(&self, f: impl FnMut(&Datum) -> Result<Datum, E>) -> Result<Self, E> {
        Ok(self.with_elements(self.elements.iter().map(f).collect::<Result<_, E>>()?))
    }

    /// Where the element of these subscripts is; `None` outside of the array.
    pub fn place(&self, subscripts: &[i32]) -> Option<usize> {
        if subscripts.len() != self.dimensions.len() || subscripts.is_empty() {
            return None;
        }
        let mut place = 0;
        for (dimension, subscript) in self.dimensions.iter().zip(subscripts) {
            place = place * usize::try_from(dimension.length).ok()? + dimension.offset(*subscript)?;
        }
        Some(place)
    }
}

impl Deref for Array {
    type Target = [Datum];

    fn deref(&self) -> &[Datum] {
        &self.elements
    }
}

impl<'a> IntoIterator for &'a Array {
    type Item = &'a Datum;
    type IntoIter = std::slice::Iter<'a, Datum>;

    fn into_iter(self) -> Self::IntoIter {
        self.elements.iter()
    }
}

/// One dimension that begins at 1.
impl From<Vec<Datum>> for Array {
    fn from(elements: Vec<Datum>) -> Self {
        let length = i32::try_from(elements.len()).unwrap_or(i32::MAX);
        let dimensions = if elements.is_empty() { Vec::new() } else { vec![Dimension { length, lower: 1 }] };
        Self { dimensions, elements }
    }
}

impl FromIterator<Datum> for Array {
    fn from_iter<T: IntoIterator<Item = Datum>>(elements: T) -> Self {
        elements.into_iter().collect::<Vec<_>>().into()
    }
}

/// How many elements the dimensions hold; `None` for too many, or for a length below 1.
pub fn element_count(dimensions: &[Dimension]) -> Option<usize> {
    if dimensions.is_empty() {
        return Some(0);
    }
    let mut count: usize = 1;
    for dimension in dimensions {
        let length = usize::try_from(dimension.length).ok().filter(|length| *length > 0)?;
        count = count.checked_mul(length).filter(|count| *count <= ELEMENTS_MAX)?;
    }
    Some(count)
}

//! What is done with arrays as wholes: subscripts and slices, assignments to parts, arrays put together and cut.

use common::array::{Array, DIMENSIONS_MAX, Dimension, ELEMENTS_MAX, element_count};
use common::datum::Datum;
use common::sqlstate::SqlState;

use crate::error::ValueError;

/// 54000.
pub fn too_large() -> ValueError {
    ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"))
}

/// 54000.
pub fn too_many_dimensions(count: usize) -> ValueError {
    let message = format!("number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
    ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
}

fn subscript_error(message: &str) -> ValueError {
    ValueError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
}

fn incompatible(detail: &str) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::ARRAY_SUBSCRIPT_ERROR,
        message: "cannot concatenate incompatible arrays".to_owned(),
        detail: Some(detail.to_owned()),
        hint: None,
    }
}

/// An array of these dimensions and elements; 54000 where there would be too many.
pub fn build(dimensions: Vec<Dimension>, elements: Vec<Datum>) -> Result<Array, ValueError> {
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(dimensions.len()));
    }
    if let Some(last) = dimensions.iter().find(|d| d.lower.checked_add(d.length).is_none()) {
        return Err(ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("array lower bound is too large: {}", last.lower)));
    }
    Array::new(dimensions, elements).ok_or_else(too_large)
}

/// Equal arrays as the elements of one more dimension: `ARRAY[a, b]`. NULLs among them count as empty.
pub fn nest(parts: &[Option<&Array>]) -> Result<Array, ValueError> {
    let mismatch = || subscript_error("multidimensional arrays must have array expressions with matching dimensions");
    let empty = Array::default();
    let mut filled = parts.iter().map(|part| part.unwrap_or(&empty));
    let Some(first) = filled.next() else { return Ok(empty) };
    let mut elements = first.to_vec();
    for part in filled {
        if part.dimensions() != first.dimensions() {
            return Err(mismatch());
        }
        elements.extend_from_slice(part);
    }
    if first.is_empty() {
        return Ok(Array::default());
    }
    let length = i32::try_from(parts.len()).map_err(|_| too_large())?;
    let mut dimensions = vec![Dimension { length, lower: 1 }];
    dimensions.extend_from_slice(first.dimensions());
    build(dimensions, elements)
}

/// One array of a slice's bounds, `None` for an open one.
pub type Bounds = (Option<i32>, Option<i32>);

/// `array[l:u][…]`: always begins at 1. Fewer bounds than dimensions leave the rest whole.
pub fn slice(array: &Array, bounds: &[Bounds]) -> Array {
    let dimensions = array.dimensions();
    if bounds.len() > dimensions.len() {
        return Array::default();
    }
    let mut cut = Vec::with_capacity(dimensions.len());
    for (at, dimension) in dimensions.iter().enumerate() {
        let (lower, upper) = bounds.get(at).copied().unwrap_or_default();
        let lower = lower.map_or(dimension.lower, |l| l.max(dimension.lower));
        let upper = upper.map_or(dimension.upper(), |u| u.min(dimension.upper()));
        if lower > upper {
            return Array::default();
        }
        cut.push(Dimension { length: upper - lower + 1, lower });
    }
    let places = places_of(array.dimensions(), &cut);
    let elements = places.into_iter().map(|place| array[place].clone()).collect();
    let shape = cut.into_iter().map(|d| Dimension { lower: 1, ..d }).collect();
    Array::new(shape, elements).unwrap_or_default()
}

/// The places, in row-major order, of what lies within `part` in an array of dimensions `whole`, which includes it.
fn places_of(whole: &[Dimension], part: &[Dimension]) -> Vec<usize> {
    let mut places = vec![0];
    for (dimension, range) in whole.iter().zip(part) {
        let width = dimension.length as usize;
        let first = (i64::from(range.lower) - i64::from(dimension.lower)) as usize;
        places = places.iter().flat_map(|place| (first..first + range.length as usize).map(move |at| place * width + at)).collect();
    }
    places
}

/// `array[subscripts] = value`; a one-dimensional array grows, with NULLs in a gap.
pub fn assign_element(array: &Array, subscripts: &[i32], value: Datum) -> Result<Array, ValueError> {
    if array.is_empty() {
        let dimensions = subscripts.iter().map(|lower| Dimension { length: 1, lower: *lower }).collect();
        return build(dimensions, vec![value]);
    }
    let dimensions = array.dimensions();
    if dimensions.len() != subscripts.len() {
        return Err(subscript_error("wrong number of array subscripts"));
    }
    if let ([dimension], [subscript]) = (dimensions, subscripts) {
        let (grown, mut elements) = grow(array, *dimension, *subscript, *subscript)?;
        let place = grown.offset(*subscript).ok_or_else(|| subscript_error("array subscript out of range"))?;
        elements[place] = value;
        return build(vec![grown], elements);
    }
    let place = array.place(subscripts).ok_or_else(|| subscript_error("array subscript out of range"))?;
    let mut elements = array.to_vec();
    elements[place] = value;
    Ok(array.with_elements(elements))
}

/// A one-dimensional array with room for the subscripts from `lower` to `upper`.
fn grow(array: &Array, dimension: Dimension, lower: i32, upper: i32) -> Result<(Dimension, Vec<Datum>), ValueError> {
    let before = i64::from(dimension.lower) - i64::from(lower);
    let behind = i64::from(upper) - i64::from(dimension.upper());
    let length = i64::from(dimension.length) + before.max(0) + behind.max(0);
    if length > ELEMENTS_MAX as i64 {
        return Err(too_large());
    }
    let mut elements = vec![Datum::Null; before.max(0) as usize];
    elements.extend_from_slice(array);
    elements.resize(length as usize, Datum::Null);
    Ok((Dimension { length: length as i32, lower: dimension.lower.min(lower) }, elements))
}

/// `array[l:u][…] = source`.
pub fn assign_slice(array: &Array, bounds: &[Bounds], source: &Array) -> Result<Array, ValueError> {
    let dimensions = array.dimensions();
    let too_small = || subscript_error("source array too small");
    if array.is_empty() {
        let mut shape = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let (Some(lower), Some(upper)) = *bound else {
                return Err(ValueError::Other {
                    sqlstate: SqlState::ARRAY_SUBSCRIPT_ERROR,
                    message: "array slice subscript must provide both boundaries".to_owned(),
                    detail: Some("When assigning to a slice of an empty array value, slice boundaries must be fully specified.".to_owned()),
                    hint: None,
                });
            };
            if upper < lower {
                return Err(subscript_error("upper bound cannot be less than lower bound"));
            }
            let length = upper.checked_sub(lower).and_then(|n| n.checked_add(1)).ok_or_else(too_large)?;
            shape.push(Dimension { length, lower });
        }
        let count = element_count(&shape).ok_or_else(too_large)?;
        let elements = source.get(..count).ok_or_else(too_small)?.to_vec();
        return build(shape, elements);
    }
    if bounds.len() > dimensions.len() {
        return Err(subscript_error("wrong number of array subscripts"));
    }
    let mut part = Vec::with_capacity(dimensions.len());
    for (at, dimension) in dimensions.iter().enumerate() {
        let (lower, upper) = bounds.get(at).copied().unwrap_or_default();
        let (lower, upper) = (lower.unwrap_or(dimension.lower), upper.unwrap_or(dimension.upper()));
        if upper < lower {
            return Err(subscript_error("upper bound cannot be less than lower bound"));
        }
        if dimensions.len() > 1 && (lower < dimension.lower || upper > dimension.upper()) {
            return Err(subscript_error("array subscript out of range"));
        }
        let length = i32::try_from(i64::from(upper) - i64::from(lower) + 1).map_err(|_| too_large())?;
        part.push(Dimension { length, lower });
    }
    let (shape, mut elements) = match (dimensions, part.as_slice()) {
        ([dimension], [range]) => {
            let (grown, elements) = grow(array, *dimension, range.lower, range.upper())?;
            (vec![grown], elements)
        }
        _ => (dimensions.to_vec(), array.to_vec()),
    };
    let places = places_of(&shape, &part);
    let values = source.get(..places.len()).ok_or_else(too_small)?;
    for (place, value) in places.into_iter().zip(values) {
        elements[place] = value.clone();
    }
    build(shape, elements)
}

/// `a || b`, both arrays.
pub fn concatenate(a: &Array, b: &Array) -> Result<Array, ValueError> {
    let (first, second) = (a.dimensions(), b.dimensions());
    if first.is_empty() {
        return Ok(b.clone());
    }
    if second.is_empty() {
        return Ok(a.clone());
    }
    let lengths = |dimensions: &[Dimension]| dimensions.iter().map(|d| d.length).collect::<Vec<_>>();
    let mut shape;
    if first.len() == second.len() {
        if lengths(&first[1..]) != lengths(&second[1..]) {
            return Err(incompatible("Arrays with differing element dimensions are not compatible for concatenation."));
        }
        shape = first.to_vec();
        shape[0].length = first[0].length.checked_add(second[0].length).ok_or_else(too_large)?;
    } else if first.len() + 1 == second.len() || first.len() == second.len() + 1 {
        let (outer, inner) = if first.len() > second.len() { (first, second) } else { (second, first) };
        if lengths(&outer[1..]) != lengths(inner) {
            return Err(incompatible("Arrays with differing dimensions are not compatible for concatenation."));
        }
        shape = outer.to_vec();
        shape[0].length = outer[0].length.checked_add(1).ok_or_else(too_large)?;
    } else {
        let detail = format!("Arrays of {} and {} dimensions are not compatible for concatenation.", first.len(), second.len());
        return Err(incompatible(&detail));
    }
    build(shape, [&**a, &**b].concat())
}

/// One element more at an end; the array has at most one dimension.
pub fn extend(array: &Array, value: Datum, at_the_end: bool) -> Result<Array, ValueError> {
    let dimension = match array.dimensions() {
        [] => return Ok(vec![value].into()),
        [dimension] => *dimension,
        _ => return Err(ValueError::new(SqlState::DATA_EXCEPTION, "argument must be empty or one-dimensional array")),
    };
    let mut elements = Vec::with_capacity(array.len() + 1);
    if at_the_end {
        elements.extend_from_slice(array);
        elements.push(value);
    } else {
        elements.push(value);
        elements.extend_from_slice(array);
    }
    build(vec![Dimension { length: dimension.length.checked_add(1).ok_or_else(too_large)?, ..dimension }], elements)
}

/// `array_fill`.
pub fn fill(value: &Datum, lengths: &[i32], lowers: Option<&[i32]>) -> Result<Array, ValueError> {
    if lengths.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(lengths.len()));
    }
    if lengths.iter().any(|length| *length < 0) {
        return Err(too_large());
    }
    if lengths.contains(&0) || lengths.is_empty() {
        return Ok(Array::default());
    }
    let lower = |at: usize| lowers.and_then(|l| l.get(at)).copied().unwrap_or(1);
    let shape: Vec<Dimension> = lengths.iter().enumerate().map(|(at, length)| Dimension { length: *length, lower: lower(at) }).collect();
    let count = element_count(&shape).ok_or_else(too_large)?;
    build(shape, vec![value.clone(); count])
}

/// The array without its last `count` items of the outer dimension.
pub fn trim(array: &Array, count: i32) -> Result<Array, ValueError> {
    let length = array.dimensions().first().map_or(0, |d| d.length);
    if !(0..=length).contains(&count) {
        return Err(subscript_error(&format!("number of elements to trim must be between 0 and {length}")));
    }
    let Some(outer) = array.dimensions().first() else { return Ok(Array::default()) };
    Ok(slice(array, &[(None, Some(outer.upper() - count))]))
}

/// `[1:2][0:3]`; `None` for an empty array.
pub fn dimensions_text(array: &Array) -> Option<String> {
    let ranges = array.dimensions().iter().map(|d| format!("[{}:{}]", d.lower, d.upper()));
    (!array.is_empty()).then(|| ranges.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(range: std::ops::Range<i32>) -> Vec<Datum> {
        range.map(Datum::Int4).collect()
    }

    fn square() -> Array {
        let dimension = Dimension { length: 2, lower: 1 };
        Array::new(vec![dimension, dimension], numbers(1..5)).unwrap()
    }

    #[test]
    fn a_slice_begins_at_one() {
        let array = Array::new(vec![Dimension { length: 4, lower: -1 }], numbers(0..4)).unwrap();
        let part = slice(&array, &[(Some(0), Some(1))]);
        assert_eq!(part, Array::from(numbers(1..3)));
        assert_eq!(slice(&square(), &[(Some(2), None)]).to_vec(), numbers(3..5));
    }

    #[test]
    fn an_assignment_beyond_the_end_fills_with_null() {
        let grown = assign_element(&numbers(1..2).into(), &[4], Datum::Int4(9)).unwrap();
        assert_eq!(grown.to_vec(), [Datum::Int4(1), Datum::Null, Datum::Null, Datum::Int4(9)]);
        assert!(assign_element(&square(), &[3, 1], Datum::Null).is_err());
    }

    #[test]
    fn arrays_of_one_dimension_more_take_rows() {
        let more = concatenate(&square(), &numbers(5..7).into()).unwrap();
        assert_eq!(dimensions_text(&more).as_deref(), Some("[1:3][1:2]"));
        assert!(concatenate(&square(), &numbers(5..8).into()).is_err());
    }
}

//! The numbers in which totals are kept.

use std::sync::Arc;

use common::numeric::Numeric;
use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Decimal256Array, Float64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use datafusion::arrow::error::ArrowError;
use num_bigint::BigInt;

/// A number that sums are kept in.
pub(super) trait Number: Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// `None` on overflow.
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    /// Calls `take` for each value that is there, with its row.
    fn each<E>(array: &ArrayRef, take: impl FnMut(usize, Self) -> Result<(), E>) -> Result<(), E>;
    /// Sums as a column of the sum's type.
    fn column(values: Vec<Self>, valid: NullBuffer, ty: &DataType) -> Result<ArrayRef, ArrowError>;
    /// The exact value, for those that are exact.
    fn exact(self, scale: i8) -> Option<Numeric>;
    fn float(self) -> f64;
}

/// All values of a primitive column, converted.
fn each_of<T: ArrowPrimitiveType, N, E>(
    array: &ArrayRef,
    convert: impl Fn(T::Native) -> N,
    mut take: impl FnMut(usize, N) -> Result<(), E>,
) -> Result<(), E> {
    let array = array.as_primitive::<T>();
    match array.nulls() {
        None => array.values().iter().enumerate().try_for_each(|(row, value)| take(row, convert(*value))),
        Some(nulls) => nulls.valid_indices().try_for_each(|row| take(row, convert(array.value(row)))),
    }
}

impl Number for i128 {
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.checked_sub(other)
    }

    fn each<E>(array: &ArrayRef, take: impl FnMut(usize, Self) -> Result<(), E>) -> Result<(), E> {
        match array.data_type() {
            DataType::Int16 => each_of::<Int16Type, _, _>(array, Self::from, take),
            DataType::Int32 => each_of::<Int32Type, _, _>(array, Self::from, take),
            DataType::Int64 => each_of::<Int64Type, _, _>(array, Self::from, take),
            DataType::Decimal128(..) => each_of::<Decimal128Type, _, _>(array, |v| v, take),
            _ => Ok(()),
        }
    }

    fn column(values: Vec<Self>, valid: NullBuffer, ty: &DataType) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Decimal128Array::try_new(values.into(), Some(valid))?.with_data_type(ty.clone())))
    }

    fn exact(self, scale: i8) -> Option<Numeric> {
        Some(Numeric::from_unscaled(self, scale))
    }

    fn float(self) -> f64 {
        self as f64
    }
}

impl Number for i256 {
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.checked_sub(other)
    }

    fn each<E>(array: &ArrayRef, take: impl FnMut(usize, Self) -> Result<(), E>) -> Result<(), E> {
        match array.data_type() {
            DataType::Decimal128(..) => each_of::<Decimal128Type, _, _>(array, Self::from_i128, take),
            DataType::Decimal256(..) => each_of::<Decimal256Type, _, _>(array, |v| v, take),
            _ => Ok(()),
        }
    }

    fn column(values: Vec<Self>, valid: NullBuffer, ty: &DataType) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Decimal256Array::try_new(values.into(), Some(valid))?.with_data_type(ty.clone())))
    }

    fn exact(self, scale: i8) -> Option<Numeric> {
        let unscaled = BigInt::from_signed_bytes_le(&self.to_le_bytes());
        Some(Numeric::finite(bigdecimal::BigDecimal::new(unscaled, i64::from(scale))))
    }

    fn float(self) -> f64 {
        num_traits::ToPrimitive::to_f64(&self).unwrap_or(f64::NAN)
    }
}

impl Number for f64 {
    fn plus(self, other: Self) -> Option<Self> {
        let sum = self + other;
        (!sum.is_infinite() || self.is_infinite() || other.is_infinite()).then_some(sum)
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.plus(-other)
    }

    fn each<E>(array: &ArrayRef, take: impl FnMut(usize, Self) -> Result<(), E>) -> Result<(), E> {
        match array.data_type() {
            DataType::Float32 => each_of::<Float32Type, _, _>(array, Self::from, take),
            DataType::Float64 => each_of::<Float64Type, _, _>(array, |v| v, take),
            _ => Ok(()),
        }
    }

    fn column(values: Vec<Self>, valid: NullBuffer, _: &DataType) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Float64Array::try_new(values.into(), Some(valid))?))
    }

    fn exact(self, _: i8) -> Option<Numeric> {
        None
    }

    fn float(self) -> f64 {
        self
    }
}

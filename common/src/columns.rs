//! Between rows and columns: stored rows become Arrow arrays ([`BatchBuilder`]), and single cells of arrays become values
//! ([`cell`], [`array_from`]).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, NullArray, RecordBatch,
    RecordBatchOptions, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt32Builder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, SchemaRef, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
};
use arrow::error::ArrowError;

use crate::datum::Datum;
use crate::interval::Interval;
use crate::numeric::Numeric;
use crate::row::{Field, RowError, RowReader, encode_array, stored_element};
use crate::types::{Scalar, SqlType};

/// Nanoseconds in a microsecond: Arrow's intervals count nanoseconds.
const NANOS: i64 = 1_000;
/// Digits that a Decimal128 can have.
const DECIMAL128_DIGITS: u16 = 38;

enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Unscaled(Decimal128Builder),
    Binary(BinaryBuilder),
    Text(StringBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Oid(UInt32Builder),
    Void(usize),
}

impl Column {
    fn new(ty: SqlType) -> Self {
        match ty.arrow() {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int16 => Self::Int2(Int16Builder::new()),
            DataType::Int32 => Self::Int4(Int32Builder::new()),
            DataType::Int64 => Self::Int8(Int64Builder::new()),
            DataType::Float32 => Self::Float4(Float32Builder::new()),
            DataType::Float64 => Self::Float8(Float64Builder::new()),
            ty @ DataType::Decimal128(..) => Self::Unscaled(Decimal128Builder::new().with_data_type(ty)),
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            DataType::FixedSizeBinary(_) => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time64(_) => Self::Time(Time64MicrosecondBuilder::new()),
            ty @ DataType::Timestamp(..) => Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(ty)),
            DataType::Interval(_) => Self::Interval(IntervalMonthDayNanoBuilder::new()),
            DataType::UInt32 => Self::Oid(UInt32Builder::new()),
            DataType::Null => Self::Void(0),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn append(&mut self, ty: SqlType, field: Field<'_>) -> Result<(), RowError> {
        match (self, field) {
            (Self::Void(n), _) => *n += 1,
            (column, Field::Null) => column.append_null(),
            (Self::Bool(b), Field::Bool(v)) => b.append_value(v),
            (Self::Int2(b), Field::Int2(v)) => b.append_value(v),
            (Self::Int4(b), Field::Int4(v)) => b.append_value(v),
            (Self::Int8(b), Field::Int8(v)) => b.append_value(v),
            (Self::Float4(b), Field::Float4(v)) => b.append_value(v),
            (Self::Float8(b), Field::Float8(v)) => b.append_value(v),
            (Self::Unscaled(b), Field::Unscaled(v)) => b.append_value(v),
            (Self::Binary(b), Field::Numeric(v) | Field::Bytea(v) | Field::Array(v)) => b.append_value(v),
            (Self::Text(b), Field::Text(v)) => b.append_value(v),
            (Self::Uuid(b), Field::Uuid(v)) => b.append_value(v).map_err(|_| RowError::WrongType(ty))?,
            (Self::Date(b), Field::Date(v)) => b.append_value(v),
            (Self::Time(b), Field::Time(v)) => b.append_value(v),
            (Self::Timestamp(b), Field::Timestamp(v)) => b.append_value(v),
            (Self::Interval(b), Field::Interval(v)) => b.append_value(to_arrow_interval(v).ok_or(RowError::WrongType(ty))?),
            (Self::Oid(b), Field::Oid(v)) => b.append_value(v),
            _ => return Err(RowError::WrongType(ty)),
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Bool(b) => b.append_null(),
            Self::Int2(b) => b.append_null(),
            Self::Int4(b) => b.append_null(),
            Self::Int8(b) => b.append_null(),
            Self::Float4(b) => b.append_null(),
            Self::Float8(b) => b.append_null(),
            Self::Unscaled(b) => b.append_null(),
            Self::Binary(b) => b.append_null(),
            Self::Text(b) => b.append_null(),
            Self::Uuid(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Timestamp(b) => b.append_null(),
            Self::Interval(b) => b.append_null(),
            Self::Oid(b) => b.append_null(),
            Self::Void(n) => *n += 1,
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Int2(b) => Arc::new(b.finish()),
            Self::Int4(b) => Arc::new(b.finish()),
            Self::Int8(b) => Arc::new(b.finish()),
            Self::Float4(b) => Arc::new(b.finish()),
            Self::Float8(b) => Arc::new(b.finish()),
            Self::Unscaled(b) => Arc::new(b.finish()),
            Self::Binary(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Uuid(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
            Self::Interval(b) => Arc::new(b.finish()),
            Self::Oid(b) => Arc::new(b.finish()),
            Self::Void(n) => Arc::new(NullArray::new(std::mem::take(n))),
        }
    }
}

/// Collects stored rows into a batch with chosen columns. One builder serves a whole scan: [`BatchBuilder::finish`] leaves it empty.
pub struct BatchBuilder {
    schema: SchemaRef,
    types: Vec<SqlType>,
    missing: Vec<Datum>,
    /// For each stored column, the builder that takes it; columns past the last wanted one are absent.
    targets: Vec<Option<usize>>,
    builders: Vec<(SqlType, Column)>,
    rows: usize,
}

impl BatchBuilder {
    /// `types` and `missing` describe the stored row (see [`crate::row::decode_row`]); `projection` lists stored columns in output
    /// order, each at most once, and `schema` has one field for each.
    pub fn new(types: Vec<SqlType>, missing: Vec<Datum>, projection: &[usize], schema: SchemaRef) -> Self {
        let last = projection.iter().max().map_or(0, |c| c + 1);
        let mut targets = vec![None; last];
        for (out, &stored) in projection.iter().enumerate() {
            targets[stored] = Some(out);
        }
        let builders = projection.iter().map(|&c| (types[c], Column::new(types[c]))).collect();
        Self { schema, types, missing, targets, builders, rows: 0 }
    }

    /// Rows collected since the last [`Self::finish`].
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Takes one stored row.
    pub fn append(&mut self, row: &[u8]) -> Result<(), RowError> {
        let mut reader = RowReader::new(row)?;
        for (stored, target) in self.targets.iter().enumerate() {
            let field = reader.next_field(self.types[stored])?;
            let Some(target) = *target else { continue };
            let (ty, column) = &mut self.builders[target];
            match field {
                Some(field) => column.append(*ty, field)?,
                None => append_datum(column, *ty, self.missing.get(stored).unwrap_or(&Datum::Null))?,
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows as a batch.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns = self.builders.iter_mut().map(|(_, c)| c.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

fn append_datum(column: &mut Column, ty: SqlType, value: &Datum) -> Result<(), RowError> {
    let field = match value {
        Datum::Null => return column.append(ty, Field::Null),
        Datum::Array(array) => {
            let mut bytes = Vec::new();
            encode_array(stored_element(ty), array, &mut bytes)?;
            return column.append(ty, Field::Array(&bytes));
        }
        Datum::Numeric(v) => match ty.numeric_precision_scale() {
            Some((_, scale)) if ty.is_decimal128() => {
                let scale = i8::try_from(scale).map_err(|_| RowError::WrongType(ty))?;
                Field::Unscaled(v.to_unscaled(scale).ok_or(RowError::WrongType(ty))?)
            }
            _ => return column.append(ty, Field::Numeric(&v.sortable())),
        },
        Datum::Bool(v) => Field::Bool(*v),
        Datum::Int2(v) => Field::Int2(*v),
        Datum::Int4(v) => Field::Int4(*v),
        Datum::Int8(v) => Field::Int8(*v),
        Datum::Float4(v) => Field::Float4(*v),
        Datum::Float8(v) => Field::Float8(*v),
        Datum::Text(v) => Field::Text(v),
        Datum::Bytea(v) => Field::Bytea(v),
        Datum::Uuid(v) => Field::Uuid(v),
        Datum::Date(v) => Field::Date(*v),
        Datum::Time(v) => Field::Time(*v),
        Datum::Timestamp(v) => Field::Timestamp(*v),
        Datum::Interval(v) => Field::Interval(*v),
        Datum::Oid(v) => Field::Oid(*v),
    };
    column.append(ty, field)
}

/// An array of `ty` (its [`SqlType::arrow`]) with these values.
pub fn array_from<'a>(ty: SqlType, values: impl IntoIterator<Item = &'a Datum>) -> Result<ArrayRef, RowError> {
    let mut column = Column::new(ty);
    for value in values {
        append_datum(&mut column, ty, value)?;
    }
    Ok(column.finish())
}

/// A list for each value, which is an array of values of type `element` or NULL: the Arrow form of sets.
pub fn lists_from<'a>(element: SqlType, values: impl IntoIterator<Item = &'a Datum>) -> Result<ListArray, RowError> {
    let (mut elements, mut lengths, mut valid) = (Column::new(element), Vec::new(), Vec::new());
    for value in values {
        let list: &[Datum] = if let Datum::Array(array) = value { array } else { &[] };
        for value in list {
            append_datum(&mut elements, element, value)?;
        }
        lengths.push(list.len());
        valid.push(!value.is_null());
    }
    let DataType::List(field) = element.arrow_list() else { return Err(RowError::WrongType(element)) };
    Ok(ListArray::new(field, OffsetBuffer::from_lengths(lengths), elements.finish(), Some(NullBuffer::from(valid))))
}

fn to_arrow_interval(v: Interval) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano::new(v.months, v.days, v.micros.checked_mul(NANOS)?))
}

/// One cell of an array as a value. The array's Arrow type decides, not a SQL type: any decimal is a numeric, Binary is a numeric when
/// `ty` says so and bytea otherwise.
pub fn cell(array: &dyn Array, row: usize, ty: SqlType) -> Result<Datum, RowError> {
    if array.is_null(row) {
        return Ok(Datum::Null);
    }
    if let Some((field, ty)) = cell_field(array, row, ty) {
        return field.to_datum(ty);
    }
    Ok(match array.data_type() {
        DataType::Decimal256(_, scale) => {
            let unscaled = num_bigint::BigInt::from_signed_bytes_le(&array.as_primitive::<Decimal256Type>().value(row).to_le_bytes());
            Datum::Numeric(Numeric::finite(bigdecimal::BigDecimal::new(unscaled, i64::from(*scale))))
        }
        _ => return Err(RowError::WrongType(ty)),
    })
}

/// One cell of an array, borrowed, with the type that it reads as (a decimal's scale is the array's); `None` for what has no stored form: decimals
/// of 256 bits.
#[inline]
pub fn cell_field(array: &dyn Array, row: usize, ty: SqlType) -> Option<(Field<'_>, SqlType)> {
    if array.is_null(row) {
        return Some((Field::Null, ty));
    }
    let field = match array.data_type() {
        DataType::Null => Field::Null,
        DataType::Boolean => Field::Bool(array.as_boolean().value(row)),
        DataType::Int16 => Field::Int2(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => Field::Int4(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Field::Int8(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Field::Float4(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Field::Float8(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let field = Field::Unscaled(array.as_primitive::<Decimal128Type>().value(row));
            return Some((field, SqlType::numeric(DECIMAL128_DIGITS, i16::from(*scale))));
        }
        DataType::Binary if ty.is_array => Field::Array(array.as_binary::<i32>().value(row)),
        DataType::Binary if ty.scalar == Scalar::Numeric => Field::Numeric(array.as_binary::<i32>().value(row)),
        DataType::Binary => Field::Bytea(array.as_binary::<i32>().value(row)),
        DataType::Utf8 => Field::Text(array.as_string::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => Field::Uuid(array.as_fixed_size_binary().value(row).first_chunk()?),
        DataType::Date32 => Field::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => Field::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Field::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Field::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / NANOS })
        }
        DataType::UInt32 => Field::Oid(array.as_primitive::<UInt32Type>().value(row)),
        _ => return None,
    };
    Some((field, ty))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field as ArrowField, Schema};

    use super::*;
    use crate::row::encode_row;

    #[test]
    fn a_list_may_be_longer_than_a_stored_row() {
        let ty = SqlType::array_of(Scalar::Int4.into());
        let long = Datum::Array((0..100_000).map(Datum::Int4).collect());
        let array = array_from(ty, [&long, &Datum::Null, &Datum::Array(vec![Datum::Null].into())]).unwrap();
        assert_eq!(cell(&array, 0, ty).unwrap(), long);
        assert_eq!(cell(&array, 1, ty).unwrap(), Datum::Null);
        assert_eq!(cell(&array, 2, ty).unwrap(), Datum::Array(vec![Datum::Null].into()));
    }

    #[test]
    fn rows_become_columns_and_come_back() {
        let types: Vec<SqlType> = vec![
            Scalar::Int4.into(),
            Scalar::Text.into(),
            SqlType::numeric(10, 2),
            SqlType::array_of(Scalar::Text.into()),
            Scalar::Timestamptz.into(),
        ];
        let rows = [
            vec![
                Datum::Int4(1),
                Datum::Text("a".into()),
                Datum::Numeric("1.25".parse().unwrap()),
                Datum::Array(vec![Datum::Text("x".into()), Datum::Null].into()),
                Datum::Timestamp(5),
            ],
            vec![Datum::Null; 5],
        ];
        let projection = [3, 0, 2, 4];
        let fields: Vec<_> = projection.iter().map(|&c| ArrowField::new(format!("c{c}"), types[c].arrow(), true)).collect();
        let mut builder = BatchBuilder::new(types.clone(), Vec::new(), &projection, Arc::new(Schema::new(fields)));
        for row in &rows {
            let mut bytes = Vec::new();
            encode_row(&types, row, &mut bytes).unwrap();
            builder.append(&bytes).unwrap();
        }
        let batch = builder.finish().unwrap();
        for (r, row) in rows.iter().enumerate() {
            for (out, &stored) in projection.iter().enumerate() {
                assert_eq!(cell(batch.column(out), r, types[stored]).unwrap(), row[stored]);
            }
        }
    }
}

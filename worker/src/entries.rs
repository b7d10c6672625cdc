//! From a row to its entry in an index. See [`catalog::objects::IndexScope`] for the forms of keys.

use bytes::Bytes;
use catalog::objects::{Index, IndexScope, Table};
use common::datum::Datum;
use common::ids::{Oid, PartitionId, RelationId};
use common::row::{RowReader, encode_row};
use common::types::{Scalar, SqlType};
use partition::key::KeySchema;

use crate::error::Result;

/// Bytes of the partition in front of a local index's keys.
pub(crate) const PARTITION_PREFIX: usize = 8;

/// The beginning of all keys of a partition in a local index.
pub(crate) fn partition_prefix(partition: PartitionId) -> [u8; PARTITION_PREFIX] {
    partition.0.to_be_bytes()
}

/// A key of a local index, from one that leaves the partition out.
pub(crate) fn with_prefix(partition: PartitionId, key: &[u8]) -> Bytes {
    [&partition_prefix(partition), key].concat().into()
}

/// One entry of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    /// Whether another row may not have the same key.
    pub(crate) unique: bool,
}

/// Makes an index's entries from its table's rows.
#[derive(Clone, Debug)]
pub(crate) struct EntryMaker {
    pub(crate) oid: Oid,
    pub(crate) storage: RelationId,
    key: KeySchema,
    local: bool,
    unique: bool,
    /// Places in the stored row.
    columns: Vec<usize>,
    include: Vec<usize>,
    value_types: Vec<SqlType>,
    row_types: Vec<SqlType>,
    missing: Vec<Datum>,
    /// One past the last place that is read.
    width: usize,
}

impl EntryMaker {
    pub(crate) fn new(table: &Table, index: &Index) -> Self {
        let place = |attnum: i16| usize::try_from(attnum - 1).unwrap_or(0);
        let columns: Vec<usize> = index.columns.iter().map(|column| place(column.attnum)).collect();
        let include: Vec<usize> = index.include.iter().map(|attnum| place(*attnum)).collect();
        let row_types = table.row_types();
        let value_types = std::iter::once(Scalar::Bytea.into()).chain(include.iter().map(|&place| row_types[place])).collect();
        let width = columns.iter().chain(&include).max().map_or(0, |last| last + 1);
        let (key, local) = match &index.scope {
            IndexScope::Local => (index.key.clone(), true),
            IndexScope::Global { partitioning, .. } => (partitioning.key.clone(), false),
        };
        let missing = table.missing_values();
        Self {
            oid: index.oid,
            storage: index.storage,
            key,
            local,
            unique: index.unique,
            columns,
            include,
            value_types,
            row_types,
            missing,
            width,
        }
    }

    /// The entry of a stored row.
    pub(crate) fn entry(&self, partition: PartitionId, table_key: &[u8], row: &[u8]) -> Result<Entry> {
        let values = self.read(row)?;
        let indexed: Vec<Datum> = self.columns.iter().map(|&place| values[place].clone()).collect();
        let unique = self.unique && !indexed.iter().any(Datum::is_null);
        let mut key = Vec::with_capacity(PARTITION_PREFIX + 12 * indexed.len() + table_key.len());
        if self.local {
            key.extend_from_slice(&partition_prefix(partition));
        }
        self.key.encode(&indexed, &mut key)?;
        if !unique {
            key.extend_from_slice(table_key);
        }
        let included = self.include.iter().map(|&place| values[place].clone());
        let fields: Vec<Datum> = std::iter::once(Datum::Bytea(Bytes::copy_from_slice(table_key))).chain(included).collect();
        let mut value = Vec::with_capacity(table_key.len() + 8 * fields.len());
        encode_row(&self.value_types, &fields, &mut value)?;
        Ok(Entry { key: key.into(), value: value.into(), unique })
    }

    /// The values of the row's first columns; those that nobody wants are NULL.
    fn read(&self, row: &[u8]) -> Result<Vec<Datum>> {
        let mut reader = RowReader::new(row)?;
        let mut values = vec![Datum::Null; self.width];
        for (place, value) in values.iter_mut().enumerate() {
            let ty = self.row_types[place];
            let field = reader.next_field(ty)?;
            if self.columns.contains(&place) || self.include.contains(&place) {
                *value = match field {
                    Some(field) => field.to_datum(ty)?,
                    None => self.missing.get(place).cloned().unwrap_or(Datum::Null),
                };
            }
        }
        Ok(values)
    }
}

/// The table key in an entry's value.
pub(crate) fn table_key(value: &[u8]) -> Result<Bytes> {
    use common::row::{Field, RowError};
    match RowReader::new(value)?.next_field(Scalar::Bytea.into())? {
        Some(Field::Bytea(key)) => Ok(Bytes::copy_from_slice(key)),
        _ => Err(RowError::Malformed("index entry without a table key").into()),
    }
}

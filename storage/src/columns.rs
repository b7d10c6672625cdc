//! Rows as columns: what a scan wants of them, and the builder that collects it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, UInt64Builder};
use arrow::datatypes::{Field, Schema};
use common::columns::BatchBuilder;
use common::datum::Datum;
use common::ids::Timestamp;
use common::row::RowError;
use common::types::SqlType;

/// A column of a scan's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowColumn {
    /// Place in the stored row.
    Stored(usize),
    /// The key, as Binary.
    Key,
    /// The version, as UInt64.
    Version,
}

/// What stored rows are, and which columns of them are wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct RowLayout {
    /// Types and missing values of the stored row (see [`common::row::decode_row`]).
    pub types: Vec<SqlType>,
    pub missing: Vec<Datum>,
    /// The output columns; a place is one of `types`.
    pub columns: Vec<RowColumn>,
}

impl RowLayout {
    /// The same rows with other columns wanted.
    pub(crate) fn with_columns(&self, columns: Vec<RowColumn>) -> Self {
        Self { types: self.types.clone(), missing: self.missing.clone(), columns }
    }

    /// What decides how a stored column reads: its type, and what stands for it in rows that are too short.
    pub(crate) fn reading(&self, place: usize) -> (SqlType, &Datum) {
        (self.types[place], self.missing.get(place).unwrap_or(&Datum::Null))
    }
}

/// Collects rows into the columns of a layout.
pub struct RowColumns {
    columns: Vec<RowColumn>,
    /// For each of `columns` that is stored, its place in `stored`.
    places: Vec<usize>,
    stored: BatchBuilder,
    keys: Option<BinaryBuilder>,
    versions: Option<UInt64Builder>,
}

impl std::fmt::Debug for RowColumns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowColumns").field("columns", &self.columns).field("rows", &self.stored.len()).finish_non_exhaustive()
    }
}

impl RowColumns {
    /// A builder without rows.
    pub fn new(layout: &RowLayout) -> Self {
        let (mut projection, mut fields) = (Vec::new(), Vec::new());
        let mut place_of = |column: &RowColumn| match *column {
            RowColumn::Stored(stored) => projection.iter().position(|p| *p == stored).unwrap_or_else(|| {
                projection.push(stored);
                fields.push(Field::new(stored.to_string(), layout.types[stored].arrow(), true));
                projection.len() - 1
            }),
            RowColumn::Key | RowColumn::Version => 0,
        };
        let places = layout.columns.iter().map(&mut place_of).collect();
        let stored = BatchBuilder::new(layout.types.clone(), layout.missing.clone(), &projection, Arc::new(Schema::new(fields)));
        let keys = layout.columns.contains(&RowColumn::Key).then(BinaryBuilder::new);
        let versions = layout.columns.contains(&RowColumn::Version).then(UInt64Builder::new);
        Self { columns: layout.columns.clone(), places, stored, keys, versions }
    }

    /// Rows collected since the last [`Self::finish`].
    pub fn rows(&self) -> usize {
        self.stored.len()
    }

    /// Takes a row.
    #[inline]
    pub fn append(&mut self, key: &[u8], version: Timestamp, row: &[u8]) -> Result<(), RowError> {
        self.stored.append(row)?;
        if let Some(keys) = &mut self.keys {
            keys.append_value(key);
        }
        if let Some(versions) = &mut self.versions {
            versions.append_value(version.0);
        }
        Ok(())
    }

    /// The columns, and how many rows they have; the builder is empty then.
    pub fn finish(&mut self) -> Result<(Vec<ArrayRef>, usize), RowError> {
        let stored = self.stored.finish().map_err(|_| RowError::Malformed("columns do not fit together"))?;
        let keys: Option<ArrayRef> = self.keys.as_mut().map(|keys| Arc::new(keys.finish()) as ArrayRef);
        let versions: Option<ArrayRef> = self.versions.as_mut().map(|versions| Arc::new(versions.finish()) as ArrayRef);
        let column = |(column, place): (&RowColumn, &usize)| match column {
            RowColumn::Stored(_) => Arc::clone(stored.column(*place)),
            RowColumn::Key => keys.clone().expect("made with the columns"),
            RowColumn::Version => versions.clone().expect("made with the columns"),
        };
        Ok((self.columns.iter().zip(&self.places).map(column).collect(), stored.num_rows()))
    }
}

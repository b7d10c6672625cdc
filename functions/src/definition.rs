//! One definition of a function serves rows and columns.
//!
//! A [`Definition`] has a signature in SQL's words, as `substr(text,int4,int4) text`, and a [`Body`]:
//! a scalar Rust function over [`Datum`]s that is lifted to columns, a column kernel, or a rule that builds an expression out of
//! others (so that `a = b` stays DataFusion's own comparison). Operators are definitions whose name is the operator's symbol.
//!
//! The signature's text is the key of the definition in plans that travel between nodes; see [`crate::registry`].

use std::sync::Arc;
use std::time::Duration;

use common::array::Array;
use common::datum::Datum;
use common::error::Report;
use common::interval::Interval;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{SCALARS, Scalar, SqlType};
use datafusion::arrow::datatypes::DataType;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, Volatility};
use types::error::ValueError;

use crate::context::{CatalogLookup, ExprContext, SessionSettings};
use crate::error::Result;
use crate::typed_expr::TypedExpr;

/// What a signature says of one argument or of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArgType {
    Exact(SqlType),
    /// PostgreSQL's polymorphic pseudo-types; all of one signature mean one element type.
    AnyElement,
    AnyArray,
    AnyNonArray,
    /// As the former, but the arguments are brought to their common type.
    AnyCompatible,
    AnyCompatibleArray,
    AnyCompatibleNonArray,
    AnyEnum,
    /// Anything, each argument for itself.
    Any,
}

impl ArgType {
    fn parse(text: &str) -> Self {
        match text {
            "any" => Self::Any,
            "anyelement" => Self::AnyElement,
            "anyarray" => Self::AnyArray,
            "anyenum" => Self::AnyEnum,
            "anynonarray" => Self::AnyNonArray,
            "anycompatible" => Self::AnyCompatible,
            "anycompatiblearray" => Self::AnyCompatibleArray,
            "anycompatiblenonarray" => Self::AnyCompatibleNonArray,
            _ => Self::Exact(parse_type(text)),
        }
    }

    /// Whether this takes the common type of several arguments.
    pub(crate) fn is_compatible(self) -> bool {
        matches!(self, Self::AnyCompatible | Self::AnyCompatibleArray | Self::AnyCompatibleNonArray)
    }
}

/// A type by its name in pg_type, with `[]` for its array. The names come from signatures in this crate only.
fn parse_type(text: &str) -> SqlType {
    let (base, is_array) = text.strip_suffix("[]").map_or((text, false), |base| (base, true));
    let scalar = SCALARS.iter().find(|row| row.3 == base).map_or(Scalar::Void, |row| row.0);
    debug_assert!(base == "void" || scalar != Scalar::Void, "signature names an unknown type {text}");
    SqlType { scalar, is_array, typmod: -1 }
}

/// A scalar function: arguments of one row to one value.
pub(crate) type RowFn = fn(&Args<'_>) -> Result<Datum, ValueError>;
/// A column kernel.
pub(crate) type ColumnFn = fn(&Call<'_>, &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue>;
/// The Arrow type of a kernel's result from the arguments' Arrow types, where the SQL type does not tell (decimals).
pub(crate) type ArrowTypeFn = fn(&[DataType]) -> DataType;
/// Builds an expression from arguments that are cast to the signature's types already.
pub(crate) type BuildFn = fn(&Build<'_>, Vec<TypedExpr>) -> Result<TypedExpr>;

/// How long a row waits.
pub(crate) type WaitFn = fn(&Args<'_>) -> Result<Duration, ValueError>;

/// How a definition is computed.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    Row(RowFn),
    Columns(ColumnFn, Option<ArrowTypeFn>),
    Build(BuildFn),
    /// Computes nothing and takes its time, without keeping a thread.
    Wait(WaitFn),
    /// The catalog answers, and may take its time ([`crate::context::CatalogLookup::ask`]).
    Ask,
}

/// A function or an operator.
pub(crate) struct Definition {
    pub(crate) name: String,
    /// The whole signature: the definition's unique key.
    pub(crate) key: String,
    pub(crate) args: Vec<ArgType>,
    /// The last argument may be repeated (or be absent, for `any`).
    pub(crate) variadic: bool,
    pub(crate) result: ArgType,
    /// NULL in, NULL out, without being called.
    pub(crate) strict: bool,
    pub(crate) volatility: Volatility,
    pub(crate) body: Body,
    /// Not found by name; only this crate's own rules use it.
    pub(crate) hidden: bool,
}

impl Definition {
    fn new(signature: &str, body: Body) -> Self {
        let (head, result) = signature.rsplit_once(' ').unwrap_or((signature, "void"));
        let (name, args) = head.split_once('(').unwrap_or((head, ")"));
        let list = args.strip_suffix(')').unwrap_or(args);
        let variadic = list.contains("variadic ");
        let args = list.split(',').filter(|a| !a.is_empty()).map(|a| ArgType::parse(a.trim_start_matches("variadic "))).collect();
        Self {
            name: name.to_owned(),
            key: signature.to_owned(),
            args,
            variadic,
            result: ArgType::parse(result),
            strict: true,
            volatility: Volatility::Immutable,
            body,
            hidden: false,
        }
    }

    /// Called for NULL arguments too.
    pub(crate) fn nullable(mut self) -> Self {
        self.strict = false;
        self
    }

    /// The result depends on settings or on the statement's time.
    pub(crate) fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    /// Each call may answer something else.
    pub(crate) fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    pub(crate) fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// A definition by a scalar function.
pub(crate) fn row(signature: &str, body: RowFn) -> Definition {
    Definition::new(signature, Body::Row(body))
}

/// A definition by a column kernel.
pub(crate) fn columns(signature: &str, body: ColumnFn) -> Definition {
    Definition::new(signature, Body::Columns(body, None))
}

/// A definition by a column kernel whose Arrow type follows from its arguments'.
pub(crate) fn columns_typed(signature: &str, body: ColumnFn, arrow_type: ArrowTypeFn) -> Definition {
    Definition::new(signature, Body::Columns(body, Some(arrow_type)))
}

/// A definition by a rule that builds an expression.
pub(crate) fn build(signature: &str, body: BuildFn) -> Definition {
    Definition::new(signature, Body::Build(body))
}

/// A definition of a function that waits and answers void.
pub(crate) fn wait(signature: &str, body: WaitFn) -> Definition {
    Definition::new(signature, Body::Wait(body)).volatile()
}

/// A definition of a function that the catalog answers anew each time, after it has asked others.
pub(crate) fn ask(signature: &str) -> Definition {
    Definition::new(signature, Body::Ask).volatile()
}

/// What a building rule sees.
pub(crate) struct Build<'a> {
    pub(crate) cx: &'a ExprContext<'a>,
    pub(crate) name: &'a str,
    pub(crate) result: SqlType,
}

/// What one evaluation sees besides the values.
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) arg_types: &'a [SqlType],
    pub(crate) result: SqlType,
    pub(crate) settings: &'a SessionSettings,
    pub(crate) config: &'a Arc<ConfigOptions>,
}

/// The arguments of one row. The readers answer an internal error for a value of another representation than the
/// signature promises: binding has cast all arguments, so that is a bug.
pub(crate) struct Args<'a> {
    pub(crate) values: &'a [Datum],
    pub(crate) call: &'a Call<'a>,
}

macro_rules! readers {
    ($($name:ident: $variant:ident => $ty:ty, $value:ident => $read:expr;)*) => {$(
        pub(crate) fn $name(&self, index: usize) -> Result<$ty, ValueError> {
            match self.values.get(index) {
                Some(Datum::$variant($value)) => Ok($read),
                _ => Err(self.wrong(index)),
            }
        }
    )*};
}

impl<'a> Args<'a> {
    readers! {
        bool: Bool => bool, v => *v;
        int2: Int2 => i16, v => *v;
        int4: Int4 => i32, v => *v;
        int8: Int8 => i64, v => *v;
        float4: Float4 => f32, v => *v;
        float8: Float8 => f64, v => *v;
        numeric: Numeric => &'a Numeric, v => v;
        text: Text => &'a str, v => v.as_str();
        bytes: Bytea => &'a [u8], v => v.as_ref();
        date: Date => i32, v => *v;
        time: Time => i64, v => *v;
        timestamp: Timestamp => i64, v => *v;
        interval: Interval => Interval, v => *v;
        oid: Oid => u32, v => *v;
        array: Array => &'a Array, v => v;
    }

    fn wrong(&self, index: usize) -> ValueError {
        let message = format!("argument {index} of {} has an unexpected form", self.call.name);
        ValueError::new(SqlState::INTERNAL_ERROR, message)
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_null(&self, index: usize) -> bool {
        self.values.get(index).is_none_or(Datum::is_null)
    }

    pub(crate) fn value(&self, index: usize) -> &'a Datum {
        self.values.get(index).unwrap_or(&Datum::Null)
    }

    pub(crate) fn ty(&self, index: usize) -> SqlType {
        self.call.arg_types.get(index).copied().unwrap_or(SqlType::from(Scalar::Text))
    }

    pub(crate) fn settings(&self) -> &'a SessionSettings {
        self.call.settings
    }

    /// The catalog of this session, where there is one.
    pub(crate) fn catalog(&self) -> Option<Arc<dyn CatalogLookup>> {
        crate::context::catalog_of(self.call.config)
    }
}

/// A text result.
#[allow(clippy::unnecessary_wraps, reason = "it ends row functions, which answer a Result")]
pub(crate) fn text(value: impl Into<String>) -> Result<Datum, ValueError> {
    Ok(Datum::Text(value.into()))
}

/// An error of a value with a code.
pub(crate) fn fail<T>(sqlstate: SqlState, message: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError::new(sqlstate, message))
}

/// A report that a catalog lookup answered, as a value error.
pub(crate) fn from_report(report: Report) -> ValueError {
    ValueError::Other { sqlstate: report.sqlstate, message: report.message, detail: report.detail, hint: report.hint }
}

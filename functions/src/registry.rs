//! All definitions, by name and by key; and from a function's unique name to its DataFusion object, for plans that come over the
//! network.
//!
//! The unique name is the definition's key; where that does not tell the types (polymorphic or variadic signatures, type modifiers),
//! `#`, the argument types, `>` and the result type follow, as `cast(any) any#text>varchar:14`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use common::enums::EnumType;
use common::types::{SCALARS, Scalar, SqlType};
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF, WindowUDF};

use crate::definition::{ArgType, Definition};
use crate::lifted::{LiftedFunction, call_expr};

struct Registry {
    by_name: HashMap<&'static str, Vec<&'static Definition>>,
    by_key: HashMap<&'static str, &'static Definition>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry { by_name: HashMap::new(), by_key: HashMap::new() };
    for definition in all() {
        // Definitions live as long as the process: expressions refer to them.
        let definition: &'static Definition = Box::leak(Box::new(definition));
        if !definition.hidden {
            registry.by_name.entry(&definition.name).or_default().push(definition);
        }
        let before = registry.by_key.insert(&definition.key, definition);
        debug_assert!(before.is_none(), "two definitions of {}", definition.key);
    }
    registry
});

fn all() -> Vec<Definition> {
    let families = [
        crate::casts::kernel::definitions(),
        crate::keys::definitions(),
        crate::arrays::definitions(),
        crate::conditional::definitions(),
        crate::operators_compare::definitions(),
        crate::operators_arithmetic::definitions(),
        crate::decimals::definitions(),
        crate::library::definitions(),
        crate::set_returning::definitions(),
    ];
    families.into_iter().flatten().collect()
}

/// The definitions that a name may mean, functions and operators alike.
pub(crate) fn named(name: &str) -> &'static [&'static Definition] {
    REGISTRY.by_name.get(name).map_or(&[], Vec::as_slice)
}

/// A definition by its key. The keys come from this crate.
fn by_key(key: &str) -> &'static Definition {
    REGISTRY.by_key.get(key).copied().unwrap_or_else(|| unreachable!("no definition of {key}"))
}

/// A call of a definition that only this crate's rules use.
pub(crate) fn call_hidden(key: &str, arg_types: Vec<SqlType>, result: SqlType, args: Vec<Expr>) -> Expr {
    call_expr(by_key(key), arg_types, result, args)
}

/// The name under which a definition with these types goes through plans.
pub(crate) fn unique_name(definition: &Definition, arg_types: &[SqlType], result: SqlType) -> String {
    let told = |signature: ArgType, actual: SqlType| signature == ArgType::Exact(actual);
    let plain = definition.args.len() == arg_types.len()
        && definition.args.iter().zip(arg_types).all(|(s, a)| told(*s, *a))
        && told(definition.result, result);
    if plain {
        return definition.key.clone();
    }
    format!("{}#{}>{}", definition.key, write_types(arg_types), write_type(result))
}

/// Types as unique names spell them.
pub(crate) fn write_types(types: &[SqlType]) -> String {
    types.iter().map(|ty| write_type(*ty)).collect::<Vec<_>>().join(",")
}

/// A type as unique names spell it: `numeric:655366`, `int4[]`.
pub(crate) fn write_type(ty: SqlType) -> String {
    let array = if ty.is_array { "[]" } else { "" };
    let name = match ty.scalar {
        Scalar::Enum(ty) => format!("enum~{:x}", ty.fingerprint()),
        scalar => scalar.internal_name().to_owned(),
    };
    if ty.typmod < 0 { format!("{name}{array}") } else { format!("{name}{array}:{}", ty.typmod) }
}

/// Reads what [`write_type`] wrote.
pub(crate) fn read_type(text: &str) -> Option<SqlType> {
    let (name, typmod) = match text.split_once(':') {
        Some((name, typmod)) => (name, typmod.parse().ok()?),
        None => (text, -1),
    };
    let (base, is_array) = name.strip_suffix("[]").map_or((name, false), |base| (base, true));
    let scalar = match base.strip_prefix("enum~") {
        Some(fingerprint) => Scalar::Enum(EnumType::by_fingerprint(u64::from_str_radix(fingerprint, 16).ok()?)?),
        None => SCALARS.iter().find(|row| row.3 == base)?.0,
    };
    Some(SqlType { scalar, is_array, typmod })
}

/// Reads what [`write_types`] wrote.
pub(crate) fn read_types(text: &str) -> Option<Vec<SqlType>> {
    if text.is_empty() { Some(Vec::new()) } else { text.split(',').map(read_type).collect() }
}

/// The scalar function of a unique name; `None` when it is none of this crate's.
pub fn scalar_udf(unique_name: &str) -> Option<Arc<ScalarUDF>> {
    if let Some(definition) = REGISTRY.by_key.get(unique_name) {
        let exact = |arg: &ArgType| if let ArgType::Exact(ty) = arg { Some(*ty) } else { None };
        let args: Option<Vec<SqlType>> = definition.args.iter().map(exact).collect();
        return Some(udf(definition, args?, exact(&definition.result)?));
    }
    let (key, types) = unique_name.rsplit_once('#')?;
    let (args, result) = types.split_once('>')?;
    let definition = REGISTRY.by_key.get(key)?;
    Some(udf(definition, read_types(args)?, read_type(result)?))
}

fn udf(definition: &'static Definition, args: Vec<SqlType>, result: SqlType) -> Arc<ScalarUDF> {
    Arc::new(LiftedFunction::new(definition, args, result).into_udf())
}

/// The aggregate of a unique name; `None` when it is none of this crate's.
pub fn aggregate_udf(unique_name: &str) -> Option<Arc<AggregateUDF>> {
    crate::aggregates::udf_by_name(unique_name)
}

/// The window function of a name; `None` when it is none of this crate's.
pub fn window_udf(name: &str) -> Option<Arc<WindowUDF>> {
    crate::windows::udf_by_name(name)
}

/// All functions whose unique name is fixed: those without polymorphic arguments.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    REGISTRY.by_key.keys().filter_map(|key| scalar_udf(key)).collect()
}

/// Whether a name is an operator's symbol.
pub(crate) fn is_operator_symbol(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

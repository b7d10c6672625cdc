//! PostgreSQL's operators, functions, casts and aggregates: how a name and argument types resolve, and how each is computed over
//! columns.
//!
//! - [`typed_expr`]: [`typed_expr::TypedExpr`], a DataFusion expression with its SQL type: what binding passes around.
//! - [`context`]: what resolution and evaluation know of the session and of parameters.
//! - `resolve`: PostgreSQL's rules (operators, functions, casts, common types) over the definition tables.
//! - `definition`: one definition of a function serves rows and columns: a scalar Rust function with its SQL signature.
//! - one file for each family: `arithmetic`, `comparison`, `strings`, `datetime_functions`, `aggregates`, …
//! - `registry`: from a function's unique name to its DataFusion object, for plans that come over the network.
//!
//! Invariant: every expression that leaves this crate is fully cast: DataFusion's type coercion has nothing left to do. Arrow metadata
//! carries no type information (it does not survive the plan codec): the SQL type is baked into the function where it matters.

mod aggregates;
mod arrays;
mod casts;
mod common_types;
mod conditional;
pub mod context;
mod decimals;
mod definition;
pub mod error;
mod keys;
mod library;
mod lifted;
mod literals;
mod named_arguments;
mod operators_arithmetic;
mod operators_compare;
mod primitive_columns;
pub mod registry;
mod resolution;
pub mod resolve;
mod set_returning;
pub mod typed_expr;
mod windows;

//! The library of functions and of operators on other things than numbers, by subject.

mod datetime_extract;
mod datetime_make;
mod datetime_now;
mod datetime_operators;
mod datetime_zone;
mod formatting;
pub(crate) mod patterns;
pub(crate) mod sets;

use crate::definition::Definition;

pub(crate) fn definitions() -> Vec<Definition> {
    let families: Vec<Vec<Definition>> = vec![
        datetime_extract::definitions(),
        datetime_make::definitions(),
        datetime_now::definitions(),
        datetime_operators::definitions(),
        datetime_zone::definitions(),
        formatting::definitions(),
        patterns::definitions(),
        sets::definitions(),
    ];
    families.into_iter().flatten().collect()
}

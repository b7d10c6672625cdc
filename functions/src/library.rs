//! The library of functions and of operators on other things than numbers, by subject.

pub(crate) mod patterns;
pub(crate) mod sets;

use crate::definition::Definition;

pub(crate) fn definitions() -> Vec<Definition> {
    let families: Vec<Vec<Definition>> = vec![patterns::definitions(), sets::definitions()];
    families.into_iter().flatten().collect()
}

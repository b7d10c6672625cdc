//! The library of functions and of operators on other things than numbers, by subject.

mod arrays;
mod catalog_information;
pub(crate) mod json_building;
mod json_operators;
mod json_paths;
mod json_sets;
pub(crate) mod patterns;
pub(crate) mod session_information;
pub(crate) mod sets;

use crate::definition::Definition;

pub(crate) fn definitions() -> Vec<Definition> {
    let families: Vec<Vec<Definition>> = vec![
        arrays::definitions(),
        catalog_information::definitions(),
        json_building::definitions(),
        json_operators::definitions(),
        json_paths::definitions(),
        json_sets::definitions(),
        patterns::definitions(),
        session_information::definitions(),
        sets::definitions(),
    ];
    families.into_iter().flatten().collect()
}

//! The library of functions and of operators on other things than numbers, by subject.

mod arrays;
mod bit_strings;
mod bytea;
mod catalog_information;
mod datetime_extract;
mod datetime_make;
mod datetime_now;
mod datetime_operators;
mod datetime_zone;
pub(crate) mod domains;
mod enums;
mod formatting;
pub(crate) mod json_building;
mod json_operators;
mod json_paths;
mod json_sets;
mod locking;
mod mathematics;
pub(crate) mod networks;
pub(crate) mod patterns;
mod random;
mod ranges;
mod regexps;
pub(crate) mod session_information;
pub(crate) mod sets;
mod strings;
mod text_columns;
mod times_with_zone;

use crate::definition::Definition;

pub(crate) fn definitions() -> Vec<Definition> {
    let families: Vec<Vec<Definition>> = vec![
        datetime_extract::definitions(),
        datetime_make::definitions(),
        datetime_now::definitions(),
        datetime_operators::definitions(),
        datetime_zone::definitions(),
        bit_strings::definitions(),
        domains::definitions(),
        networks::definitions(),
        ranges::definitions(),
        times_with_zone::definitions(),
        enums::definitions(),
        formatting::definitions(),
        patterns::definitions(),
        arrays::definitions(),
        catalog_information::definitions(),
        json_building::definitions(),
        json_operators::definitions(),
        json_paths::definitions(),
        json_sets::definitions(),
        locking::definitions(),
        session_information::definitions(),
        sets::definitions(),
        bytea::definitions(),
        mathematics::definitions(),
        random::definitions(),
        regexps::definitions(),
        strings::definitions(),
        text_columns::definitions(),
    ];
    families.into_iter().flatten().collect()
}

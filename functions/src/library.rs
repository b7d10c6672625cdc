//! The library of functions and of operators on other things than numbers, by subject.

mod bytea;
mod mathematics;
pub(crate) mod patterns;
mod random;
mod regexps;
pub(crate) mod sets;
mod strings;
mod text_columns;

use crate::definition::Definition;

pub(crate) fn definitions() -> Vec<Definition> {
    let families: Vec<Vec<Definition>> = vec![
        bytea::definitions(),
        mathematics::definitions(),
        patterns::definitions(),
        random::definitions(),
        regexps::definitions(),
        sets::definitions(),
        strings::definitions(),
        text_columns::definitions(),
    ];
    families.into_iter().flatten().collect()
}

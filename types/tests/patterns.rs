//! LIKE and regular expressions: against each other, and what the functions over matches rely on.

use proptest::prelude::*;
use types::like::{ilike, like, like_bytes, like_escape, similar_to_regexp};
use types::regexp::{Flags, Regexp};
use types::regexp_functions as regexps;

fn compiled(pattern: &str) -> Regexp {
    Regexp::compile(pattern, Flags::default()).expect("a valid expression")
}

/// The regular expression of a LIKE pattern, symbol by symbol; `None` for a pattern that ends in an escape character.
fn as_regexp(pattern: &str) -> Option<String> {
    let mut out = String::from("^");
    let mut symbols = pattern.chars();
    while let Some(symbol) = symbols.next() {
        match symbol {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '\\' => out.push_str(&format!("[{}]", symbols.next()?).replace("[\\]", "\\\\")),
            other => out.push(other),
        }
    }
    Some(out + "$")
}

proptest! {
    #[test]
    fn like_is_a_regular_expression(text in "[abž%_\\n]{0,8}", pattern in "[abž%_\\\\]{0,8}") {
        if let Some(expression) = as_regexp(&pattern) {
            let expected = compiled(&expression).is_match(&text).expect("no limit is reached");
            prop_assert_eq!(like(&text, &pattern).expect("a whole pattern"), expected);
        }
    }

    #[test]
    fn bytes_are_like_text(text in "[ab%_]{0,8}", pattern in "[ab%_\\\\]{0,8}") {
        prop_assert_eq!(like(&text, &pattern), like_bytes(text.as_bytes(), pattern.as_bytes()));
    }

    #[test]
    fn another_escape_character_is_the_backslash(text in "[ab#%_\\\\]{0,6}", pattern in "[ab%_\\\\]{0,6}") {
        let hashed = pattern.replace('\\', "#");
        let expected = like(&text.replace('\\', "x").replace('#', "\\"), &pattern);
        prop_assert_eq!(like(&text.replace('\\', "x"), &like_escape(&hashed, "#").expect("one character")), expected);
    }

    #[test]
    fn longest_of_branches(words in proptest::collection::vec("[ab]{1,4}", 1..5), text in "[ab]{0,8}") {
        let found = compiled(&words.join("|")).find_at(&text, 0).expect("no limit is reached").map(|m| m.whole);
        let start = (0..text.len()).find(|at| words.iter().any(|w| text[*at..].starts_with(w.as_str())));
        let expected = start.map(|at| {
            let length = words.iter().filter(|w| text[at..].starts_with(w.as_str())).map(String::len).max();
            at..at + length.unwrap_or(0)
        });
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_text_compiles_or_is_refused(pattern in "[ab(){}\\[\\]|*+?\\\\^$.:=,12!<-]{0,12}", text in "[ab]{0,6}") {
        if let Ok(regexp) = Regexp::compile(&pattern, Flags::default()) {
            let found = regexp.find_at(&text, 0);
            if let (Ok(Some(found)), Ok(matches)) = (found, regexp.is_match(&text)) {
                prop_assert!(matches && found.groups.len() == regexp.groups());
            }
        }
    }

    #[test]
    fn any_pattern_is_similar_or_refused(pattern in "[ab(){}\\[\\]|*+?\\\\^$.%_\"#]{0,12}", text in "[ab]{0,6}") {
        if let Ok(expression) = similar_to_regexp(&pattern, "#") {
            let _ = Regexp::compile(&expression, Flags::default()).map(|regexp| regexp.is_match(&text));
        }
    }
}

#[test]
fn an_escape_character_at_the_end_is_an_error_where_it_is_reached() {
    assert!(like("ab", "a\\").is_err());
    assert_eq!(like("a", "a\\"), Ok(false));
    assert_eq!(like("x", "a\\"), Ok(false));
    assert_eq!(ilike("ŽLUŤ", "žl%"), Ok(true));
}

#[test]
fn shortest_and_longest() {
    let whole = |pattern: &str, text: &str| compiled(pattern).find_at(text, 0).expect("no limit is reached").map(|m| m.whole);
    assert_eq!(whole("a*?b|x", "aab"), Some(0..3));
    assert_eq!(whole("a+?", "aaa"), Some(0..1));
    assert_eq!(whole("a+?b*", "aabb"), Some(0..1));
    assert_eq!(whole("(?:a|ab)(?:c|bcd)(?:d*)", "abcd"), Some(0..4));
}

#[test]
fn replacing_keeps_what_is_not_matched() {
    let replaced = |pattern: &str, n| regexps::replace(&compiled(pattern), "žabažab", "-", 1, n);
    assert_eq!(replaced("ž", 0), Ok("-aba-ab".to_owned()));
    assert_eq!(replaced("ž", 2), Ok("žaba-ab".to_owned()));
    assert_eq!(replaced("", 0), Ok("-ž-a-b-a-ž-a-b-".to_owned()));
    assert_eq!(regexps::split(&compiled(""), "žab"), Ok(vec!["ž", "a", "b"]));
}

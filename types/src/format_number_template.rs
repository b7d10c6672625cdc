//! Templates of numbers: what `to_char` and `to_number` need to know of the whole before they begin.

use std::cell::RefCell;
use std::rc::Rc;

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::format_template::{Keyword, Kind, Node, Ordinal, TemplateCache, parse};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Comma,
    Point,
    Zero,
    Nine,
    /// B: known, and does nothing.
    Blank,
    /// C and SP, which PostgreSQL knows and ignores.
    Ignored,
    LocalePoint,
    Exponent,
    Fill,
    LocaleGroup,
    Currency,
    Minus,
    Plus,
    Bracket,
    /// In capitals or not.
    Roman(bool),
    PlusMinus,
    LocaleSign,
    Ending(Ordinal),
    Shift,
}

macro_rules! keywords {
    ($($name:literal $key:expr;)*) => { &[$(Keyword { name: $name, key: $key }),*] };
}

/// All of them: a key word stands before the shorter ones that it begins with.
#[rustfmt::skip]
static KEYWORDS: &[Keyword<Key>] = keywords! {
    "," Key::Comma; "." Key::Point; "0" Key::Zero; "9" Key::Nine;
    "B" Key::Blank; "C" Key::Ignored; "D" Key::LocalePoint; "EEEE" Key::Exponent; "FM" Key::Fill; "G" Key::LocaleGroup; "L" Key::Currency;
    "MI" Key::Minus; "PL" Key::Plus; "PR" Key::Bracket; "RN" Key::Roman(true); "SG" Key::PlusMinus; "SP" Key::Ignored;
    "S" Key::LocaleSign; "TH" Key::Ending(Ordinal::Upper); "V" Key::Shift;
    "b" Key::Blank; "c" Key::Ignored; "d" Key::LocalePoint; "eeee" Key::Exponent; "fm" Key::Fill; "g" Key::LocaleGroup; "l" Key::Currency;
    "mi" Key::Minus; "pl" Key::Plus; "pr" Key::Bracket; "rn" Key::Roman(false); "sg" Key::PlusMinus; "sp" Key::Ignored;
    "s" Key::LocaleSign; "th" Key::Ending(Ordinal::Lower); "v" Key::Shift;
};

/// Where the sign of `S` goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum SignPlace {
    #[default]
    None,
    Before,
    After,
}

/// What the template says of the number as a whole.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each key word may be there or not")]
pub(crate) struct Shape {
    /// Digits before the point, after it, and after `V`.
    pub(crate) pre: i32,
    pub(crate) post: i32,
    pub(crate) shift: i32,
    pub(crate) sign_place: SignPlace,
    /// Digits before `S`.
    pub(crate) pre_sign: i32,
    /// Where zeros begin, counted from 1, and where they end.
    pub(crate) zero_start: i32,
    pub(crate) zero_end: i32,
    pub(crate) has_zero: bool,
    pub(crate) has_blank: bool,
    pub(crate) has_point: bool,
    pub(crate) fill: bool,
    pub(crate) has_sign: bool,
    pub(crate) has_plus: bool,
    pub(crate) has_minus: bool,
    pub(crate) has_bracket: bool,
    pub(crate) is_roman: bool,
    pub(crate) is_shifted: bool,
    pub(crate) has_exponent: bool,
}

/// A parsed template.
#[derive(Debug)]
pub(crate) struct NumberTemplate {
    pub(crate) nodes: Vec<Node<Key>>,
    pub(crate) shape: Shape,
}

fn syntax(message: &str) -> ValueError {
    ValueError::new(SqlState::SYNTAX_ERROR, message)
}

impl Shape {
    fn add(&mut self, key: Key) -> Result<(), ValueError> {
        if self.has_exponent && key != Key::Exponent {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        match key {
            Key::Nine | Key::Zero => self.digit(key == Key::Zero)?,
            Key::Blank if self.pre == 0 && self.post == 0 && !self.has_zero => self.has_blank = true,
            Key::LocalePoint | Key::Point => {
                if self.has_point {
                    return Err(syntax("multiple decimal points"));
                }
                if self.is_shifted {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.has_point = true;
            }
            Key::Fill => self.fill = true,
            Key::LocaleSign | Key::Minus | Key::Plus | Key::PlusMinus | Key::Bracket => self.sign(key)?,
            Key::Roman(_) => self.is_roman = true,
            Key::Shift => {
                if self.has_point {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.is_shifted = true;
            }
            Key::Exponent => self.exponent()?,
            Key::Comma | Key::Blank | Key::Ignored | Key::LocaleGroup | Key::Currency | Key::Ending(_) => {}
        }
        Ok(())
    }

    fn digit(&mut self, zero: bool) -> Result<(), ValueError> {
        if self.has_bracket {
            return Err(syntax(if zero { "\"0\" must be ahead of \"PR\"" } else { "\"9\" must be ahead of \"PR\"" }));
        }
        if zero && !self.has_zero && !self.has_point {
            self.has_zero = true;
            self.zero_start = self.pre + 1;
        }
        let count = match (self.has_point, self.is_shifted && !zero) {
            (_, true) => &mut self.shift,
            (true, _) => &mut self.post,
            (false, _) => &mut self.pre,
        };
        *count += 1;
        if zero {
            self.zero_end = self.pre + self.post;
        }
        Ok(())
    }

    fn sign(&mut self, key: Key) -> Result<(), ValueError> {
        let with_sign = |name: &str| Err(syntax(&format!("cannot use \"S\" and \"{name}\" together")));
        match key {
            Key::LocaleSign => {
                if self.has_sign {
                    return Err(syntax("cannot use \"S\" twice"));
                }
                if self.has_plus || self.has_minus || self.has_bracket {
                    return with_sign("PL\"/\"MI\"/\"SG\"/\"PR");
                }
                self.has_sign = true;
                (self.sign_place, self.pre_sign) =
                    if self.has_point { (SignPlace::After, self.pre_sign) } else { (SignPlace::Before, self.pre) };
            }
            Key::Minus if self.has_sign => return with_sign("MI"),
            Key::Plus if self.has_sign => return with_sign("PL"),
            Key::PlusMinus if self.has_sign => return with_sign("SG"),
            Key::Minus => self.has_minus = true,
            Key::Plus => self.has_plus = true,
            Key::PlusMinus => (self.has_minus, self.has_plus) = (true, true),
            _ => {
                if self.has_sign || self.has_plus || self.has_minus {
                    return Err(syntax("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.has_bracket = true;
            }
        }
        Ok(())
    }

    fn exponent(&mut self) -> Result<(), ValueError> {
        if self.has_exponent {
            return Err(syntax("cannot use \"EEEE\" twice"));
        }
        let signs = self.has_sign || self.has_bracket || self.has_minus || self.has_plus;
        if signs || self.has_blank || self.fill || self.is_roman || self.is_shifted {
            return Err(ValueError::Other {
                sqlstate: SqlState::SYNTAX_ERROR,
                message: "\"EEEE\" is incompatible with other formats".to_owned(),
                detail: Some("\"EEEE\" may only be used together with digit and decimal point patterns.".to_owned()),
                hint: None,
            });
        }
        self.has_exponent = true;
        Ok(())
    }
}

/// The template, parsed and checked.
pub(crate) fn number_template(template: &str) -> Result<Rc<NumberTemplate>, ValueError> {
    thread_local! {
        static CACHE: RefCell<TemplateCache<NumberTemplate>> = const { RefCell::new(TemplateCache::new()) };
    }
    CACHE.with_borrow_mut(|cache| {
        cache.find(template, |text| {
            let nodes = parse(text, KEYWORDS, Kind::Numbers);
            let mut shape = Shape::default();
            for node in &nodes {
                if let Node::Key(keyword, _) = node {
                    shape.add(keyword.key)?;
                }
            }
            Ok(NumberTemplate { nodes, shape })
        })
    })
}

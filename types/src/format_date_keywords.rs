//! The key words in templates of dates and times.

use std::cell::RefCell;
use std::rc::Rc;

use crate::format_template::{Keyword, Kind, Node, TemplateCache, parse};

/// How an answer in letters is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Case {
    Upper,
    Title,
    Lower,
}

/// What a key word stands for. The years, and the days of the year and of the week, are there in the calendar of ISO weeks too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// `AD`; with points.
    Era(Case, bool),
    /// `AM`; with points.
    HalfOfDay(Case, bool),
    Century,
    DayName(Case),
    DayShort(Case),
    DayOfYear,
    IsoDayOfYear,
    Day,
    Weekday,
    IsoWeekday,
    /// So many digits of the second.
    Fraction(u8),
    /// FX: the input is as wide as the template.
    Exact,
    Hour24,
    Hour12,
    IsoWeek,
    /// So many digits.
    IsoYear(u8),
    Julian,
    Minute,
    Month,
    MonthName(Case),
    MonthShort(Case),
    Millisecond,
    Offset,
    Quarter,
    RomanMonth(Case),
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    Zone(Case),
    Microsecond,
    Week,
    WeekOfMonth,
    YearWithComma,
    /// So many digits.
    Year(u8),
}

/// Dates are told by month and day, or by ISO weeks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DateMode {
    Gregorian,
    IsoWeek,
}

impl Key {
    /// Whether a number stands there, so that a number before it has to have a fixed width.
    pub(crate) fn is_digits(self) -> bool {
        !matches!(
            self,
            Self::Era(..)
                | Self::HalfOfDay(..)
                | Self::DayName(_)
                | Self::DayShort(_)
                | Self::Exact
                | Self::MonthName(_)
                | Self::MonthShort(_)
                | Self::Offset
                | Self::RomanMonth(_)
                | Self::ZoneHour
                | Self::Zone(_)
        )
    }

    /// The calendar that the key word belongs to.
    pub(crate) fn date_mode(self) -> Option<DateMode> {
        match self {
            Self::DayOfYear
            | Self::Day
            | Self::Weekday
            | Self::Month
            | Self::MonthName(_)
            | Self::MonthShort(_)
            | Self::RomanMonth(_)
            | Self::Week
            | Self::WeekOfMonth
            | Self::YearWithComma
            | Self::Year(_) => Some(DateMode::Gregorian),
            Self::IsoDayOfYear | Self::IsoWeekday | Self::IsoWeek | Self::IsoYear(_) => Some(DateMode::IsoWeek),
            _ => None,
        }
    }
}

macro_rules! keywords {
    ($($name:literal $key:expr;)*) => { &[$(Keyword { name: $name, key: $key }),*] };
}

use Case::{Lower, Title, Upper};
use Key::{
    Century, Day, DayName, DayOfYear, DayShort, Era, Exact, Fraction, HalfOfDay, Hour12, Hour24, IsoDayOfYear, IsoWeek, IsoWeekday,
    IsoYear, Julian, Microsecond, Millisecond, Minute, Month, MonthName, MonthShort, Offset, Quarter, RomanMonth, Second, SecondOfDay,
    Week, WeekOfMonth, Weekday, Year, YearWithComma, Zone, ZoneHour, ZoneMinute,
};

/// All of them: a key word stands before the shorter ones that it begins with.
#[rustfmt::skip]
static KEYWORDS: &[Keyword<Key>] = keywords! {
    "A.D." Era(Upper, true); "A.M." HalfOfDay(Upper, true); "AD" Era(Upper, false); "AM" HalfOfDay(Upper, false);
    "B.C." Era(Upper, true); "BC" Era(Upper, false);
    "CC" Century;
    "DAY" DayName(Upper); "DDD" DayOfYear; "DD" Day; "DY" DayShort(Upper); "Day" DayName(Title); "Dy" DayShort(Title); "D" Weekday;
    "FF1" Fraction(1); "FF2" Fraction(2); "FF3" Fraction(3); "FF4" Fraction(4); "FF5" Fraction(5); "FF6" Fraction(6); "FX" Exact;
    "HH24" Hour24; "HH12" Hour12; "HH" Hour12;
    "IDDD" IsoDayOfYear; "ID" IsoWeekday; "IW" IsoWeek; "IYYY" IsoYear(4); "IYY" IsoYear(3); "IY" IsoYear(2); "I" IsoYear(1);
    "J" Julian;
    "MI" Minute; "MM" Month; "MONTH" MonthName(Upper); "MON" MonthShort(Upper); "MS" Millisecond;
    "Month" MonthName(Title); "Mon" MonthShort(Title);
    "OF" Offset;
    "P.M." HalfOfDay(Upper, true); "PM" HalfOfDay(Upper, false);
    "Q" Quarter;
    "RM" RomanMonth(Upper);
    "SSSSS" SecondOfDay; "SSSS" SecondOfDay; "SS" Second;
    "TZH" ZoneHour; "TZM" ZoneMinute; "TZ" Zone(Upper);
    "US" Microsecond;
    "WW" Week; "W" WeekOfMonth;
    "Y,YYY" YearWithComma; "YYYY" Year(4); "YYY" Year(3); "YY" Year(2); "Y" Year(1);
    "a.d." Era(Lower, true); "a.m." HalfOfDay(Lower, true); "ad" Era(Lower, false); "am" HalfOfDay(Lower, false);
    "b.c." Era(Lower, true); "bc" Era(Lower, false);
    "cc" Century;
    "day" DayName(Lower); "ddd" DayOfYear; "dd" Day; "dy" DayShort(Lower); "d" Weekday;
    "ff1" Fraction(1); "ff2" Fraction(2); "ff3" Fraction(3); "ff4" Fraction(4); "ff5" Fraction(5); "ff6" Fraction(6); "fx" Exact;
    "hh24" Hour24; "hh12" Hour12; "hh" Hour12;
    "iddd" IsoDayOfYear; "id" IsoWeekday; "iw" IsoWeek; "iyyy" IsoYear(4); "iyy" IsoYear(3); "iy" IsoYear(2); "i" IsoYear(1);
    "j" Julian;
    "mi" Minute; "mm" Month; "month" MonthName(Lower); "mon" MonthShort(Lower); "ms" Millisecond;
    "of" Offset;
    "p.m." HalfOfDay(Lower, true); "pm" HalfOfDay(Lower, false);
    "q" Quarter;
    "rm" RomanMonth(Lower);
    "sssss" SecondOfDay; "ssss" SecondOfDay; "ss" Second;
    "tzh" ZoneHour; "tzm" ZoneMinute; "tz" Zone(Lower);
    "us" Microsecond;
    "ww" Week; "w" WeekOfMonth;
    "y,yyy" YearWithComma; "yyyy" Year(4); "yyy" Year(3); "yy" Year(2); "y" Year(1);
};

/// A parsed template.
pub(crate) type DateTemplate = Vec<Node<Key>>;

/// The template, parsed.
pub(crate) fn date_template(template: &str) -> Rc<DateTemplate> {
    thread_local! {
        static CACHE: RefCell<TemplateCache<DateTemplate>> = const { RefCell::new(TemplateCache::new()) };
    }
    let parsed: Result<_, std::convert::Infallible> =
        CACHE.with_borrow_mut(|cache| cache.find(template, |text| Ok(parse(text, KEYWORDS, Kind::Dates))));
    match parsed {
        Ok(parsed) => parsed,
        Err(never) => match never {},
    }
}

/// The Roman numbers of the months, from December down, as they are searched.
pub(crate) const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

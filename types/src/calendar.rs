//! The proleptic Gregorian calendar over days since 1970-01-01, and the limits of PostgreSQL's date types.
//!
//! Years are astronomical inside (0 is 1 BC); text forms turn them into BC.

/// Microseconds in a second, a minute, an hour and a day.
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Days from 1970-01-01 to 2000-01-01, where the binary formats count from.
pub const DAYS_TO_2000: i32 = 10_957;
/// The same in microseconds.
pub const MICROS_TO_2000: i64 = DAYS_TO_2000 as i64 * DAY;

/// -infinity and infinity of date.
pub const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;
pub const DATE_INFINITY: i32 = i32::MAX;
/// -infinity and infinity of timestamp and timestamptz.
pub const NEGATIVE_INFINITY: i64 = i64::MIN;
pub const INFINITY: i64 = i64::MAX;

/// The first day that a date can be: 4714-11-24 BC, Julian day 0.
pub const FIRST_DAY: i32 = -2_440_588;
/// The first day after the last that a date can be: 5874898-01-01.
pub const END_DAY: i32 = 2_145_042_906;

/// The earliest timestamp.
pub const FIRST_TIMESTAMP: i64 = FIRST_DAY as i64 * DAY;
/// The first instant after the last timestamp. Counting from 1970 instead of 2000, 64 bits end 30 years before PostgreSQL's last
/// timestamp, in January 294247.
pub const END_TIMESTAMP: i64 = i64::MAX;

/// A day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Civil {
    /// Astronomical: 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

/// Whether February has 29 days.
pub fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// How many days a month has; `month` is 1 to 12.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. The month may be any; days outside the month count on.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let months = year.saturating_mul(12).saturating_add(month - 1);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    // March-based years put the leap day at the end.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The day of the calendar.
pub fn civil_from_days(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year, month, day }
}

/// 0 is Sunday.
pub fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// 1 to 366.
pub fn day_of_year(days: i64) -> i64 {
    days - days_from_civil(civil_from_days(days).year, 1, 1) + 1
}

/// The Monday that begins ISO week 1 of a year.
pub fn iso_year_start(year: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - (weekday(fourth) + 6) % 7
}

/// The ISO year and week of a day.
pub fn iso_week(days: i64) -> (i64, i64) {
    let year = civil_from_days(days).year;
    let iso_year = if days >= iso_year_start(year + 1) {
        year + 1
    } else if days >= iso_year_start(year) {
        year
    } else {
        year - 1
    };
    (iso_year, (days - iso_year_start(iso_year)) / 7 + 1)
}

/// The number of the day as astronomers count; 1970-01-01 is 2440588.
pub fn julian_day(days: i64) -> i64 {
    days + 2_440_588
}

/// A day and the microseconds into it.
pub fn split(timestamp: i64) -> (i64, i64) {
    (timestamp.div_euclid(DAY), timestamp.rem_euclid(DAY))
}

/// Whether a count of days is a date.
pub fn is_date(days: i64) -> bool {
    (i64::from(FIRST_DAY)..i64::from(END_DAY)).contains(&days)
}

/// Whether a count of microseconds is a timestamp, and a finite one.
pub fn is_timestamp(micros: i64) -> bool {
    (FIRST_TIMESTAMP..END_TIMESTAMP).contains(&micros)
}

/// Names as PostgreSQL prints them.
pub const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
pub const MONTHS_SHORT: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_the_days_they_claim_to_be() {
        assert_eq!(days_from_civil(-4713, 11, 24), i64::from(FIRST_DAY));
        assert_eq!(days_from_civil(5_874_898, 1, 1), i64::from(END_DAY));
        assert_eq!(days_from_civil(2000, 1, 1), i64::from(DAYS_TO_2000));
    }

    #[test]
    fn days_and_civil_days_are_inverse() {
        for days in (-3_000_000..3_000_000).step_by(37) {
            let civil = civil_from_days(days);
            assert_eq!(days_from_civil(civil.year, civil.month, civil.day), days);
            assert!((1..=days_in_month(civil.year, civil.month)).contains(&civil.day));
        }
        assert_eq!(weekday(0), 4);
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_from_civil(2018, 12, 31)), (2019, 1));
        assert_eq!(day_of_year(days_from_civil(2024, 12, 31)), 366);
    }
}

//! Time zones: finding one by the ways in which SQL names it, and its offset at an instant or at a local time.
//!
//! Offsets are seconds east of Greenwich. A local time that a clock change skips is read with the offset before the change, one that
//! happens twice with the offset after it, as PostgreSQL does.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone as _};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS, Tz};

use crate::calendar::{DAY, SECOND, civil_from_days, days_from_civil, is_leap, split, weekday};
use crate::format_settings::TimeZone;
use crate::zone_abbreviations::{self, Meaning};

/// The largest offset in a text form, in hours, not included.
pub(crate) const MAX_OFFSET_HOURS: i64 = 15;

/// From this year on the zone database has no explicit clock changes; a year of the same shape before it stands for the later one.
const RULES_END: i64 = 2090;

/// The zones by lower-case name.
static BY_NAME: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|zone| (zone.name().to_ascii_lowercase(), *zone)).collect());

/// A zone of the IANA database, by its name in any case.
pub fn named(name: &str) -> Option<Tz> {
    BY_NAME.get(&name.to_ascii_lowercase()).copied()
}

/// The names of all zones of the database, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    TZ_VARIANTS.iter().map(|zone| zone.name())
}

/// What a zone says about an instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Seconds east of Greenwich.
    pub offset: i32,
    pub is_dst: bool,
    /// `PST`, `CEST`, `+03`.
    pub abbreviation: String,
}

/// The instant (seconds are enough: no zone changes within one), moved into the years that the database covers.
fn covered(utc_micros: i64) -> NaiveDateTime {
    let (days, micros) = split(utc_micros);
    let civil = civil_from_days(days);
    let days = if civil.year >= RULES_END {
        let shape = |year: i64| (is_leap(year), weekday(days_from_civil(year, 1, 1)));
        let twin = (RULES_END - 28..RULES_END).find(|year| shape(*year) == shape(civil.year)).unwrap_or(RULES_END - 1);
        days - days_from_civil(civil.year, 1, 1) + days_from_civil(twin, 1, 1)
    } else if civil.year < 1800 {
        // Before the first entry every zone has its local mean time.
        days_from_civil(1800, 1, 1)
    } else {
        days
    };
    let days = i32::try_from(days).unwrap_or(0);
    let date = NaiveDate::from_epoch_days(days).unwrap_or_default();
    let seconds = u32::try_from(micros / SECOND).unwrap_or(0);
    date.and_time(NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap_or_default())
}

/// The offset at an instant, in seconds east.
pub fn offset_at(zone: TimeZone, utc_micros: i64) -> i32 {
    match zone {
        TimeZone::Fixed(offset) => offset,
        TimeZone::Named(Tz::UTC) => 0,
        TimeZone::Named(tz) => tz.offset_from_utc_datetime(&covered(utc_micros)).fix().local_minus_utc(),
    }
}

/// Offset, daylight saving and abbreviation at an instant.
pub fn moment(zone: TimeZone, utc_micros: i64) -> Moment {
    match zone {
        TimeZone::Fixed(offset) => Moment { offset, is_dst: false, abbreviation: clock_abbreviation(offset) },
        TimeZone::Named(tz) => {
            let found = tz.offset_from_utc_datetime(&covered(utc_micros));
            let offset = found.fix().local_minus_utc();
            Moment {
                offset,
                is_dst: !found.dst_offset().is_zero(),
                abbreviation: found.abbreviation().map_or_else(|| numeric_abbreviation(offset), str::to_owned),
            }
        }
    }
}

/// `+03`, `-0330`.
fn numeric_abbreviation(offset: i32) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    if minutes == 0 { format!("{sign}{hours:02}") } else { format!("{sign}{hours:02}{minutes:02}") }
}

/// `+03`, `-03:30`, `+05:30:15`: what a fixed offset calls itself.
pub(crate) fn clock_abbreviation(offset: i32) -> String {
    let mut out = Vec::new();
    crate::datetime_print::put_offset(offset, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The offset that an abbreviation has in a zone: the one that it stood for last before the instant, or else first after it. When the
/// zone never used it, the zone's own offset.
pub(crate) fn offset_of_abbreviation(tz: Tz, name: &str, utc_micros: i64) -> i32 {
    /// Nobody keeps an abbreviation for a shorter time than this.
    const STEP: i64 = 30 * DAY;
    const STEPS_MAX: i64 = 1_500;
    let zone = TimeZone::Named(tz);
    let means = |steps: i64| {
        let found = moment(zone, utc_micros.saturating_add(steps * STEP));
        found.abbreviation.eq_ignore_ascii_case(name).then_some(found.offset)
    };
    (0..STEPS_MAX).find_map(|i| means(-i)).or_else(|| (1..STEPS_MAX).find_map(means)).unwrap_or_else(|| offset_at(zone, utc_micros))
}

/// The offset at a local time.
pub fn offset_at_local(zone: TimeZone, local_micros: i64) -> i32 {
    let tz = match zone {
        TimeZone::Fixed(offset) => return offset,
        TimeZone::Named(Tz::UTC) => return 0,
        TimeZone::Named(_) => zone,
    };
    let before = offset_at(tz, local_micros.saturating_sub(DAY));
    let after = offset_at(tz, local_micros.saturating_add(DAY));
    if before == after {
        return before;
    }
    let holds = |offset: i32| offset_at(tz, local_micros.saturating_sub(i64::from(offset) * SECOND)) == offset;
    match (holds(before), holds(after)) {
        (_, true) => after,
        // Skipped by the change, or only before it.
        (_, false) => before,
    }
}

/// Local time of an instant. The infinities are the caller's.
pub fn to_local(zone: TimeZone, utc_micros: i64) -> i64 {
    utc_micros.saturating_add(i64::from(offset_at(zone, utc_micros)) * SECOND)
}

/// The instant of a local time; `None` outside 64 bits.
pub fn to_utc(zone: TimeZone, local_micros: i64) -> Option<i64> {
    local_micros.checked_sub(i64::from(offset_at_local(zone, local_micros)) * SECOND)
}

/// What a word in a date means as a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneWord {
    /// An abbreviation with a fixed meaning.
    Offset(i32),
    /// A zone, or an abbreviation whose meaning changed with time.
    Zone(Tz),
}

/// An abbreviation or a zone's full name, in any case.
pub fn find(word: &str) -> Option<ZoneWord> {
    match zone_abbreviations::find(word) {
        Some(Meaning::Offset(offset, _)) => Some(ZoneWord::Offset(offset)),
        Some(Meaning::Zone(name)) => named(name).map(ZoneWord::Zone),
        None => named(word).map(ZoneWord::Zone),
    }
}

/// The zone that a word or a POSIX specification (`UTC+3`, `<+05>-5`) names.
pub fn time_zone(word: &str) -> Option<TimeZone> {
    match find(word) {
        Some(ZoneWord::Offset(offset)) => Some(TimeZone::Fixed(offset)),
        Some(ZoneWord::Zone(tz)) => Some(TimeZone::Named(tz)),
        None => posix(word),
    }
}

/// A POSIX zone without daylight saving: `ABC+3`, `<+05>-5:30`. The sign counts west of Greenwich.
pub fn posix(text: &str) -> Option<TimeZone> {
    let rest = if let Some(quoted) = text.strip_prefix('<') {
        quoted.split_once('>')?.1
    } else {
        // The name may be anything, even nothing.
        text.trim_start_matches(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '-' | '+')))
    };
    let west = clock_seconds(rest)?;
    Some(TimeZone::Fixed(-west))
}

/// `[+-]hh[:mm[:ss]]` in seconds.
fn clock_seconds(text: &str) -> Option<i32> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        if part.is_empty() || part.len() > 3 || unit == 0 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i32>().ok()? * unit;
        unit /= 60;
    }
    (seconds <= 167 * 3600).then_some(if negative { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::HOUR;

    fn local(year: i64, month: i64, day: i64, hour: i64) -> i64 {
        days_from_civil(year, month, day) * DAY + hour * HOUR
    }

    #[test]
    fn clock_changes_are_read_as_postgresql_reads_them() {
        let new_york = TimeZone::Named(Tz::America__New_York);
        // Skipped: 02:30 on 2024-03-10 with the offset before. Twice: 01:30 on 2024-11-03 with the offset after.
        assert_eq!(offset_at_local(new_york, local(2024, 3, 10, 2) + HOUR / 2), -18_000);
        assert_eq!(offset_at_local(new_york, local(2024, 11, 3, 1) + HOUR / 2), -18_000);
        assert_eq!(offset_at_local(new_york, local(2024, 3, 10, 3)), -14_400);
        assert_eq!(offset_at_local(new_york, local(2024, 7, 1, 0)), -14_400);
        assert_eq!(offset_at(new_york, local(2150, 7, 1, 12)), -14_400);
        assert_eq!(offset_at(new_york, local(2150, 1, 1, 12)), -18_000);
        assert_eq!(offset_at(new_york, local(1500, 1, 1, 12)), -17_762);
    }

    #[test]
    fn zones_are_found_by_all_their_names() {
        assert_eq!(find("PST"), Some(ZoneWord::Offset(-28_800)));
        assert_eq!(find("europe/berlin"), Some(ZoneWord::Zone(Tz::Europe__Berlin)));
        assert_eq!(time_zone("<+03>-03"), Some(TimeZone::Fixed(10_800)));
        assert_eq!(time_zone("UTC+5:30"), Some(TimeZone::Fixed(-19_800)));
        assert_eq!(time_zone("nowhere"), None);
        assert_eq!(moment(TimeZone::Named(Tz::Europe__Berlin), local(2024, 7, 1, 0)).abbreviation, "CEST");
    }
}

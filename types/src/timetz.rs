//! The type `time with time zone`: a time of the day and the offset of the clock that shows it.
//!
//! A value travels as 12 bytes whose order is the values': the time in UTC (it may lie outside of the day), then the seconds west, both
//! big-endian with the sign bit flipped.

use common::interval::Interval;
use common::sqlstate::SqlState;

use crate::calendar::{DAY, SECOND, split};
use crate::datetime::{self, ZoneName};
use crate::datetime_print::{put_offset, write_time};
use crate::error::ValueError;
use crate::format_settings::{FormatSettings, TimeZone};
use crate::interval_text;
use crate::zone;

/// A time with its offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeTz {
    /// Microseconds since midnight, as the clock shows.
    pub time: i64,
    /// Seconds east of UTC.
    pub offset: i32,
}

impl TimeTz {
    /// The form in which it travels.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut out = [0; 12];
        out[..8].copy_from_slice(&(self.utc().cast_unsigned() ^ (1 << 63)).to_be_bytes());
        out[8..].copy_from_slice(&((-self.offset).cast_unsigned() ^ (1 << 31)).to_be_bytes());
        out
    }

    /// Reads what [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (utc, west) = bytes.split_first_chunk::<8>()?;
        let utc = (u64::from_be_bytes(*utc) ^ (1 << 63)).cast_signed();
        let west = (u32::from_be_bytes(west.try_into().ok()?) ^ (1 << 31)).cast_signed();
        Some(Self { time: utc - i64::from(west) * SECOND, offset: -west })
    }

    /// Microseconds since midnight in UTC; negative or above a day where the dates differ.
    pub fn utc(self) -> i64 {
        self.time - i64::from(self.offset) * SECOND
    }

    /// Appends `12:00:00+02`.
    pub fn write(self, out: &mut Vec<u8>) {
        write_time(self.time, out);
        put_offset(self.offset, out);
    }

    /// The wire form: the time, then the seconds west.
    pub fn write_binary(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&(-self.offset).to_be_bytes());
    }

    /// Of the wire form's parts.
    pub fn from_binary(time: i64, west: i32) -> Result<Self, ValueError> {
        /// No clock is further away from UTC.
        const WEST_MAX: i32 = 16 * 3600;
        if !(0..=DAY).contains(&time) {
            return Err(ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range"));
        }
        if west <= -WEST_MAX || west >= WEST_MAX {
            return Err(ValueError::new(SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE, "time zone displacement out of range"));
        }
        Ok(Self { time, offset: -west })
    }

    /// With that many digits of a second.
    pub fn rounded(self, digits: i32) -> Self {
        Self { time: interval_text::rounded(self.time, digits).unwrap_or(self.time), ..self }
    }

    /// The clock moved on; months and days do not count.
    pub fn add(self, span: Interval) -> Self {
        Self { time: datetime::time_add(self.time, span), ..self }
    }

    /// The clock moved back.
    pub fn sub(self, span: Interval) -> Self {
        Self { time: datetime::time_sub(self.time, span), ..self }
    }

    /// What the session's clock shows at an instant; `None` for an infinite one.
    pub fn of_timestamptz(timestamp: i64, time_zone: TimeZone) -> Option<Self> {
        datetime::is_finite_timestamp(timestamp).then(|| {
            let offset = zone::offset_at(time_zone, timestamp);
            Self { time: split(timestamp.saturating_add(i64::from(offset) * SECOND)).1, offset }
        })
    }

    /// A time of the day on the session's clock, with the offset of today.
    pub fn of_time(time: i64, settings: &FormatSettings) -> Self {
        let local = split(zone::to_local(settings.time_zone, settings.transaction_micros)).0 * DAY + time;
        Self { time, offset: zone::offset_at_local(settings.time_zone, local) }
    }

    /// The instant of the time on a date.
    pub fn on_date(self, date: i32) -> Result<i64, ValueError> {
        let start = datetime::date_to_timestamp(date)?;
        if !datetime::is_finite_timestamp(start) {
            return Ok(start);
        }
        start
            .checked_add(self.utc())
            .filter(|t| crate::calendar::is_timestamp(*t))
            .ok_or_else(|| ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
    }

    /// The same time on the clock of another zone, as it is at `now`.
    pub fn at_zone(self, zone: ZoneName, now: i64) -> Self {
        let offset = match zone {
            ZoneName::Zone(zone) => zone::offset_at(zone, now),
            ZoneName::Abbreviation(tz, name) => zone::offset_of_abbreviation(tz, name, now),
        };
        let time = (self.utc() + i64::from(offset) * SECOND).rem_euclid(DAY);
        Self { time, offset }
    }
}

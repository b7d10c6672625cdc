//! Arithmetic of intervals. Months, days and microseconds stay apart; only fractions cascade downwards.

use common::interval::Interval;

use crate::calendar::{DAY, HOUR, MINUTE, SECOND};
use crate::error::ValueError;
use crate::interval_text::out_of_range;

const DAYS_IN_MONTH: i32 = 30;
const SECONDS_IN_DAY: f64 = 86_400.0;

/// `a + b`.
pub fn add(a: Interval, b: Interval) -> Result<Interval, ValueError> {
    let sum = || {
        Some(Interval {
            months: a.months.checked_add(b.months)?,
            days: a.days.checked_add(b.days)?,
            micros: a.micros.checked_add(b.micros)?,
        })
    };
    sum().ok_or_else(out_of_range)
}

/// `a - b`.
pub fn sub(a: Interval, b: Interval) -> Result<Interval, ValueError> {
    let difference = || {
        Some(Interval {
            months: a.months.checked_sub(b.months)?,
            days: a.days.checked_sub(b.days)?,
            micros: a.micros.checked_sub(b.micros)?,
        })
    };
    difference().ok_or_else(out_of_range)
}

/// `-a`.
pub fn neg(a: Interval) -> Result<Interval, ValueError> {
    sub(Interval::default(), a)
}

/// `a * factor`.
pub fn mul(a: Interval, factor: f64) -> Result<Interval, ValueError> {
    scaled(a, |part| part * factor)
}

/// `a / divisor`.
pub fn div(a: Interval, divisor: f64) -> Result<Interval, ValueError> {
    if divisor == 0.0 {
        return Err(ValueError::division_by_zero());
    }
    scaled(a, |part| part / divisor)
}

fn scaled(a: Interval, scale: impl Fn(f64) -> f64) -> Result<Interval, ValueError> {
    let whole = |value: f64| -> Result<i32, ValueError> {
        let fits = value > f64::from(i32::MIN) - 1.0 && value < f64::from(i32::MAX) + 1.0;
        if fits { Ok(value as i32) } else { Err(out_of_range()) }
    };
    let (exact_months, exact_days) = (scale(f64::from(a.months)), scale(f64::from(a.days)));
    let (months, mut days) = (whole(exact_months)?, whole(exact_days)?);
    let to_micros = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let days_of_month = to_micros((exact_months - f64::from(months)) * f64::from(DAYS_IN_MONTH));
    let fraction_of_day = exact_days - f64::from(days) + days_of_month - days_of_month.trunc();
    let mut seconds = to_micros(fraction_of_day * SECONDS_IN_DAY);
    let more = |days: i32, by: f64| days.checked_add(by as i32).ok_or_else(out_of_range);
    if seconds.abs() >= SECONDS_IN_DAY {
        let carried = (seconds / SECONDS_IN_DAY).trunc();
        days = more(days, carried)?;
        seconds -= carried * SECONDS_IN_DAY;
    }
    days = more(days, days_of_month.trunc())?;
    let micros = (scale(a.micros as f64) + seconds * SECOND as f64).round_ties_even();
    // The largest double below 2^63 is far from the limit.
    if micros.is_nan() || micros < -(2_f64.powi(63)) || micros >= 2_f64.powi(63) {
        return Err(out_of_range());
    }
    Ok(Interval { months, days, micros: micros as i64 })
}

/// `justify_hours`: 24 hours are a day.
pub fn justify_hours(a: Interval) -> Result<Interval, ValueError> {
    let carried = i32::try_from(a.micros / DAY).map_err(|_| out_of_range())?;
    let mut out = Interval { days: a.days.checked_add(carried).ok_or_else(out_of_range)?, micros: a.micros % DAY, ..a };
    if out.days > 0 && out.micros < 0 {
        out.micros += DAY;
        out.days -= 1;
    } else if out.days < 0 && out.micros > 0 {
        out.micros -= DAY;
        out.days += 1;
    }
    Ok(out)
}

/// `justify_days`: 30 days are a month.
pub fn justify_days(a: Interval) -> Result<Interval, ValueError> {
    let months = a.months.checked_add(a.days / DAYS_IN_MONTH).ok_or_else(out_of_range)?;
    let mut out = Interval { months, days: a.days % DAYS_IN_MONTH, ..a };
    if out.months > 0 && out.days < 0 {
        out.days += DAYS_IN_MONTH;
        out.months -= 1;
    } else if out.months < 0 && out.days > 0 {
        out.days -= DAYS_IN_MONTH;
        out.months += 1;
    }
    Ok(out)
}

/// `justify_interval`: both, and one sign for all.
pub fn justify_interval(a: Interval) -> Result<Interval, ValueError> {
    let days = i64::from(a.days) + a.micros / DAY;
    let mut micros = a.micros % DAY;
    let months = i64::from(a.months) + days / i64::from(DAYS_IN_MONTH);
    let mut days = (days % i64::from(DAYS_IN_MONTH)) as i32;
    let mut months = i32::try_from(months).map_err(|_| out_of_range())?;
    if months > 0 && (days < 0 || days == 0 && micros < 0) {
        days += DAYS_IN_MONTH;
        months -= 1;
    } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
        days -= DAYS_IN_MONTH;
        months += 1;
    }
    if days > 0 && micros < 0 {
        micros += DAY;
        days -= 1;
    } else if days < 0 && micros > 0 {
        micros -= DAY;
        days += 1;
    }
    Ok(Interval { months, days, micros })
}

/// The arguments of `make_interval`.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct MakeInterval {
    pub years: i32,
    pub months: i32,
    pub weeks: i32,
    pub days: i32,
    pub hours: i32,
    pub minutes: i32,
    pub seconds: f64,
}

/// `make_interval`.
pub fn make_interval(of: MakeInterval) -> Result<Interval, ValueError> {
    if !of.seconds.is_finite() {
        return Err(out_of_range());
    }
    let months = of.years.checked_mul(12).and_then(|m| m.checked_add(of.months));
    let days = of.weeks.checked_mul(7).and_then(|d| d.checked_add(of.days));
    let micros = (of.seconds * SECOND as f64).round_ties_even();
    let clock = i64::from(of.hours) * HOUR + i64::from(of.minutes) * MINUTE;
    let micros = (micros.abs() < 2_f64.powi(63)).then(|| clock.checked_add(micros as i64)).flatten();
    let (Some(months), Some(days), Some(micros)) = (months, days, micros) else { return Err(out_of_range()) };
    Ok(Interval { months, days, micros })
}

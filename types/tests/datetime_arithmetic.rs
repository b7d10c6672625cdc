//! Dates, times and intervals against PostgreSQL 15: `cases/datetime.jsonl` has lines `[settings, operation, arguments, result]`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use common::datum::Datum;
use common::error::SqlError;
use common::interval::Interval;
use common::types::{Scalar, SqlType};
use proptest::prelude::*;
use serde_json::Value;
use types::calendar::{END_TIMESTAMP, FIRST_TIMESTAMP};
use types::error::ValueError;
use types::format_settings::FormatSettings;
use types::{datetime, interval, settings_text, text_input, text_output};

struct Case<'a> {
    settings: FormatSettings,
    arguments: Vec<&'a str>,
}

impl Case<'_> {
    fn value(&self, at: usize, scalar: Scalar) -> Result<Datum, ValueError> {
        text_input::parse(self.arguments[at], scalar.into(), &self.settings)
    }

    fn ts(&self, at: usize) -> Result<i64, ValueError> {
        self.value(at, Scalar::Timestamp).map(|v| if let Datum::Timestamp(t) = v { t } else { panic!() })
    }

    fn tz(&self, at: usize) -> Result<i64, ValueError> {
        self.value(at, Scalar::Timestamptz).map(|v| if let Datum::Timestamp(t) = v { t } else { panic!() })
    }

    fn date(&self, at: usize) -> Result<i32, ValueError> {
        self.value(at, Scalar::Date).map(|v| if let Datum::Date(d) = v { d } else { panic!() })
    }

    fn time(&self, at: usize) -> Result<i64, ValueError> {
        self.value(at, Scalar::Time).map(|v| if let Datum::Time(t) = v { t } else { panic!() })
    }

    fn span(&self, at: usize) -> Result<Interval, ValueError> {
        self.value(at, Scalar::Interval).map(|v| if let Datum::Interval(i) = v { i } else { panic!() })
    }

    fn int(&self, at: usize) -> i32 {
        self.arguments[at].parse().unwrap()
    }

    fn float(&self, at: usize) -> f64 {
        self.arguments[at].parse().unwrap()
    }

    fn show(&self, value: &Datum, scalar: Scalar) -> String {
        text_output::to_text(value, scalar.into(), &self.settings)
    }

    fn extract(&self, scalar: Scalar) -> Result<String, ValueError> {
        let value = self.value(1, scalar)?;
        let found = datetime::extract(self.arguments[0], &value, SqlType::from(scalar), &self.settings)?;
        Ok(found.map(|n| n.to_string()).unwrap_or_default())
    }

    fn run(&self, operation: &str) -> Result<String, ValueError> {
        if let Some(scalar) = operation.strip_prefix("extract_") {
            return self.extract(text_input::type_by_name(scalar).unwrap().scalar);
        }
        let zone = self.settings.time_zone;
        if let Some(result) = self.timestamps(operation) {
            return result.map(|t| self.show(&Datum::Timestamp(t), Scalar::Timestamp));
        }
        if let Some(result) = self.spans(operation) {
            return result.map(|i| self.show(&Datum::Interval(i), Scalar::Interval));
        }
        let instant = |t: i64| self.show(&Datum::Timestamp(t), Scalar::Timestamptz);
        let date = |d: i32| self.show(&Datum::Date(d), Scalar::Date);
        let time = |t: i64| self.show(&Datum::Time(t), Scalar::Time);
        Ok(match operation {
            "date_trunc_tz" => instant(datetime::date_trunc_tz(self.arguments[0], self.tz(1)?, zone)?),
            "add_interval_tz" => instant(datetime::add_interval_tz(self.tz(0)?, self.span(1)?, zone)?),
            "sub_interval_tz" => instant(datetime::sub_interval_tz(self.tz(0)?, self.span(1)?, zone)?),
            "date_to_timestamptz" => instant(datetime::date_to_timestamptz(self.date(0)?, zone)?),
            "timestamp_to_timestamptz" => instant(datetime::timestamp_to_timestamptz(self.ts(0)?, zone)?),
            "at_zone" => instant(datetime::timestamp_at_zone(self.ts(0)?, datetime::zone_name(self.arguments[1])?)?),
            "at_interval" => instant(datetime::timestamp_at_zone(self.ts(0)?, datetime::zone_of_interval(self.span(1)?)?)?),
            "from_epoch" => instant(datetime::from_epoch(self.float(0))?),
            "timestamptz_to_date" => date(datetime::timestamptz_to_date(self.tz(0)?, zone)),
            "date_plus" => date(datetime::add_days(self.date(0)?, self.int(1))?),
            "date_minus" => date(datetime::sub_days(self.date(0)?, self.int(1))?),
            "timestamp_to_date" => date(datetime::timestamp_to_date(self.ts(0)?)),
            "make_date" => date(datetime::make_date(self.int(0), self.int(1), self.int(2))?),
            "sub_dates" => datetime::sub_dates(self.date(0)?, self.date(1)?)?.to_string(),
            "time_add" => time(datetime::time_add(self.time(0)?, self.span(1)?)),
            "time_sub" => time(datetime::time_sub(self.time(0)?, self.span(1)?)),
            "timestamp_to_time" => datetime::timestamp_to_time(self.ts(0)?).map(time).unwrap_or_default(),
            "interval_to_time" => time(datetime::interval_to_time(self.span(0)?)),
            "make_time" => time(datetime::make_time(self.int(0), self.int(1), self.float(2))?),
            other => panic!("{other}"),
        })
    }

    fn timestamps(&self, operation: &str) -> Option<Result<i64, ValueError>> {
        let run = || -> Result<Option<i64>, ValueError> {
            Ok(Some(match operation {
                "date_trunc" => datetime::date_trunc(self.arguments[0], self.ts(1)?)?,
                "add_interval" => datetime::add_interval(self.ts(0)?, self.span(1)?)?,
                "sub_interval" => datetime::sub_interval(self.ts(0)?, self.span(1)?)?,
                "date_time" => datetime::date_and_time(self.date(0)?, self.time(1)?)?,
                "date_to_timestamp" => datetime::date_to_timestamp(self.date(0)?)?,
                "tz_at_zone" => datetime::timestamptz_at_zone(self.tz(0)?, datetime::zone_name(self.arguments[1])?)?,
                "date_bin" => datetime::date_bin(self.span(0)?, self.ts(1)?, self.ts(2)?)?,
                "make_timestamp" => {
                    let date = (self.int(0), self.int(1), self.int(2));
                    datetime::make_timestamp(date, self.int(3), self.int(4), self.float(5))?
                }
                _ => return Ok(None),
            }))
        };
        run().transpose()
    }

    fn spans(&self, operation: &str) -> Option<Result<Interval, ValueError>> {
        let run = || -> Result<Option<Interval>, ValueError> {
            Ok(Some(match operation {
                "date_trunc_interval" => datetime::date_trunc_interval(self.arguments[0], self.span(1)?)?,
                "age" => datetime::age(self.ts(0)?, self.ts(1)?)?,
                "age_tz" => datetime::age_tz(self.tz(0)?, self.tz(1)?, self.settings.time_zone)?,
                "sub_timestamps" => datetime::sub_timestamps(self.ts(0)?, self.ts(1)?)?,
                "sub_times" => datetime::sub_times(self.time(0)?, self.time(1)?),
                "justify_hours" => interval::justify_hours(self.span(0)?)?,
                "justify_days" => interval::justify_days(self.span(0)?)?,
                "justify_interval" => interval::justify_interval(self.span(0)?)?,
                "interval_neg" => interval::neg(self.span(0)?)?,
                "interval_add" => interval::add(self.span(0)?, self.span(1)?)?,
                "interval_sub" => interval::sub(self.span(0)?, self.span(1)?)?,
                "interval_mul" => interval::mul(self.span(0)?, self.float(1))?,
                "interval_div" => interval::div(self.span(0)?, self.float(1))?,
                "make_interval" => interval::make_interval(interval::MakeInterval {
                    years: self.int(0),
                    months: self.int(1),
                    weeks: self.int(2),
                    days: self.int(3),
                    hours: self.int(4),
                    minutes: self.int(5),
                    seconds: self.float(6),
                })?,
                _ => return Ok(None),
            }))
        };
        run().transpose()
    }
}

#[test]
fn results_are_postgresqls() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("cases/datetime.jsonl").lines() {
        let case: [Value; 4] = serde_json::from_str(line).unwrap();
        let mut settings = FormatSettings::default();
        if let Some(zone) = case[0].as_str().unwrap().strip_prefix("timezone=") {
            settings.time_zone = settings_text::parse_time_zone(zone).unwrap();
        }
        let arguments: Vec<&str> = case[2].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        // There PostgreSQL 15 computes with the number that stands for infinity; and 1970-based microseconds end before its last year.
        let no_sense =
            matches!(case[1].as_str().unwrap(), "age" | "at_zone" | "tz_at_zone") && arguments.iter().any(|a| a.ends_with("infinity"));
        if no_sense || case[3].as_str().unwrap().starts_with("2942") {
            continue;
        }
        count += 1;
        let got = Case { settings, arguments }.run(case[1].as_str().unwrap()).unwrap_or_else(|error| {
            let detail = error.detail().map(|d| format!(" / {d}")).unwrap_or_default();
            let hint = error.hint().map(|d| format!(" ? {d}")).unwrap_or_default();
            format!("!{} {error}{detail}{hint}", error.sqlstate())
        });
        if got != case[3].as_str().unwrap() {
            wrong.push(format!("{line}\n     is {got}"));
        }
    }
    assert!(count > 5000);
    let shown = wrong.len().min(40);
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..shown].join("\n"));
}

proptest! {
    #[test]
    fn a_difference_added_is_the_later(a in FIRST_TIMESTAMP..END_TIMESTAMP / 2, b in FIRST_TIMESTAMP..END_TIMESTAMP / 2) {
        let difference = datetime::sub_timestamps(a, b).unwrap();
        prop_assert_eq!(datetime::add_interval(b, difference).unwrap(), a);
    }

    #[test]
    fn age_is_never_longer_than_its_months(a in -1_000_000_000_000_000..1_000_000_000_000_000_i64, b in -1_000_000_000_000_000..1_000_000_000_000_000_i64) {
        let age = datetime::age(a, b).unwrap();
        prop_assert!(age.days.abs() < 31 && age.micros.abs() < 86_400_000_000);
        prop_assert!((age.months >= 0 && age.days >= 0 && age.micros >= 0) == (a >= b) || a == b);
    }

    #[test]
    fn cutting_twice_is_cutting_once(t in FIRST_TIMESTAMP / 2..END_TIMESTAMP / 2, unit in prop::sample::select(vec!["year", "month", "week", "day", "hour", "century"])) {
        let once = datetime::date_trunc(unit, t).unwrap();
        prop_assert!(once <= t);
        prop_assert_eq!(datetime::date_trunc(unit, once).unwrap(), once);
    }
}

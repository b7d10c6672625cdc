//! Printing and reading are inverse, in text and in binary form, for values of every type.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use bytes::Bytes;
use common::datum::Datum;
use common::interval::Interval;
use common::numeric::Numeric;
use common::row::{Field, RowReader, encode_row};
use common::types::{Scalar, SqlType};
use proptest::prelude::*;
use types::calendar::{END_DAY, END_TIMESTAMP, FIRST_DAY, FIRST_TIMESTAMP};
use types::format_settings::{ByteaOutput, DateFormat, DateOrder, FormatSettings, IntervalStyle, TimeZone};
use types::{binary, text_input, text_output};

fn any_settings() -> impl Strategy<Value = FormatSettings> {
    use chrono_tz::Tz;
    let zone = prop_oneof![Just(TimeZone::Named(Tz::UTC)), Just(TimeZone::Fixed(-19_800)),];
    let style = prop_oneof![
        Just(IntervalStyle::Postgres),
        Just(IntervalStyle::PostgresVerbose),
        Just(IntervalStyle::SqlStandard),
        Just(IntervalStyle::Iso8601)
    ];
    let format = prop_oneof![Just(DateFormat::Iso), Just(DateFormat::German)];
    let bytea = prop_oneof![Just(ByteaOutput::Hex), Just(ByteaOutput::Escape)];
    (zone, style, format, bytea).prop_map(|(time_zone, interval_style, date_format, bytea_output)| FormatSettings {
        // A fixed zone prints its offset, not a name, in the German style too; reading it back takes the same zone.
        date_format: if time_zone == TimeZone::Named(Tz::UTC) { date_format } else { DateFormat::Iso },
        date_order: DateOrder::Dmy,
        interval_style,
        time_zone,
        bytea_output,
        ..FormatSettings::default()
    })
}

fn any_numeric() -> impl Strategy<Value = Numeric> {
    let finite = (any::<i128>(), 0_i8..38).prop_map(|(unscaled, scale)| Numeric::from_unscaled(unscaled, scale));
    prop_oneof![10 => finite, 1 => Just(Numeric::NaN), 1 => Just(Numeric::Infinity), 1 => Just(Numeric::NegativeInfinity)]
}

fn any_interval() -> impl Strategy<Value = Interval> {
    (-100_000..100_000_i32, -100_000..100_000_i32, -1_000_000_000_000..1_000_000_000_000_i64).prop_map(|(months, days, micros)| Interval {
        months,
        days,
        micros,
    })
}

fn any_scalar() -> impl Strategy<Value = (SqlType, Datum)> {
    fn of(scalar: Scalar) -> impl Fn(Datum) -> (SqlType, Datum) + Clone {
        move |datum| (SqlType::from(scalar), datum)
    }
    prop_oneof![
        any::<bool>().prop_map(Datum::Bool).prop_map(of(Scalar::Bool)),
        any::<i16>().prop_map(Datum::Int2).prop_map(of(Scalar::Int2)),
        any::<i32>().prop_map(Datum::Int4).prop_map(of(Scalar::Int4)),
        any::<i64>().prop_map(Datum::Int8).prop_map(of(Scalar::Int8)),
        any::<f32>().prop_map(Datum::Float4).prop_map(of(Scalar::Float4)),
        any::<f64>().prop_map(Datum::Float8).prop_map(of(Scalar::Float8)),
        any_numeric().prop_map(Datum::Numeric).prop_map(of(Scalar::Numeric)),
        "[^\0]*".prop_map(Datum::Text).prop_map(of(Scalar::Text)),
        any::<Vec<u8>>().prop_map(|b| Datum::Bytea(Bytes::from(b))).prop_map(of(Scalar::Bytea)),
        any::<[u8; 16]>().prop_map(Datum::Uuid).prop_map(of(Scalar::Uuid)),
        (FIRST_DAY..END_DAY).prop_map(Datum::Date).prop_map(of(Scalar::Date)),
        (0..=86_400_000_000_i64).prop_map(Datum::Time).prop_map(of(Scalar::Time)),
        (FIRST_TIMESTAMP..END_TIMESTAMP).prop_map(Datum::Timestamp).prop_map(of(Scalar::Timestamp)),
        (FIRST_TIMESTAMP + 86_400_000_000..END_TIMESTAMP - 86_400_000_000).prop_map(Datum::Timestamp).prop_map(of(Scalar::Timestamptz)),
        prop_oneof![Just(i64::MIN), Just(i64::MAX)].prop_map(Datum::Timestamp).prop_map(of(Scalar::Timestamptz)),
        any_interval().prop_map(Datum::Interval).prop_map(of(Scalar::Interval)),
        any::<u32>().prop_map(Datum::Oid).prop_map(of(Scalar::Oid)),
    ]
}

fn any_value() -> impl Strategy<Value = (SqlType, Datum)> {
    let texts = prop::collection::vec(prop_oneof![3 => "[^\0]*".prop_map(Datum::Text), 1 => Just(Datum::Null)], 0..6);
    let numbers = prop::collection::vec(prop_oneof![3 => any::<i32>().prop_map(Datum::Int4), 1 => Just(Datum::Null)], 0..6);
    prop_oneof![
        20 => any_scalar(),
        1 => texts.prop_map(|v| (SqlType::array_of(Scalar::Text.into()), Datum::Array(v.into()))),
        1 => numbers.prop_map(|v| (SqlType::array_of(Scalar::Int4.into()), Datum::Array(v.into()))),
    ]
}

/// Equality that tells apart what SQL does not: display scales, and intervals that only last equally long.
fn same(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float4(a), Datum::Float4(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Datum::Float8(a), Datum::Float8(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Datum::Numeric(a), Datum::Numeric(b)) => a == b && a.to_string() == b.to_string(),
        (Datum::Interval(a), Datum::Interval(b)) => (a.months, a.days, a.micros) == (b.months, b.days, b.micros),
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn text_is_read_back((ty, value) in any_value(), settings in any_settings()) {
        let text = text_output::to_text(&value, ty, &settings);
        let back = text_input::parse(&text, ty, &settings);
        prop_assert!(matches!(&back, Ok(back) if same(back, &value)), "{value:?} printed as {text:?} and read as {back:?}");
    }

    #[test]
    fn binary_is_read_back((ty, value) in any_value()) {
        let mut bytes = Vec::new();
        binary::write(&value, ty, &mut bytes);
        let back = binary::parse(&bytes, ty);
        prop_assert!(matches!(&back, Ok(back) if same(back, &value)), "{value:?} read as {back:?}");
        for cut in 0..bytes.len().min(40) {
            // Must not panic; a shorter form may be a value of some types.
            let _ = binary::parse(&bytes[..cut], ty);
        }
    }

    #[test]
    fn stored_columns_print_as_values_do((ty, value) in any_value(), settings in any_settings()) {
        let mut row = Vec::new();
        encode_row(&[ty], std::slice::from_ref(&value), &mut row).unwrap();
        let field: Field<'_> = RowReader::new(&row).unwrap().next_field(ty).unwrap().unwrap();
        let mut stored = (Vec::new(), Vec::new());
        text_output::write_field(&field, ty, &settings, &mut stored.0);
        binary::write_field(&field, ty, &mut stored.1);
        let mut owned = (Vec::new(), Vec::new());
        text_output::write(&value, ty, &settings, &mut owned.0);
        binary::write(&value, ty, &mut owned.1);
        prop_assert_eq!(stored, owned);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".*", scalar in prop::sample::select(common::types::SCALARS)) {
        for is_array in [false, true] {
            let ty = SqlType { scalar: scalar.0, is_array, typmod: -1 };
            let _ = text_input::parse(&text, ty, &FormatSettings::default());
            let _ = binary::parse(text.as_bytes(), ty);
        }
    }

    #[test]
    fn dates_in_any_clothes_are_read_or_refused(text in "[0-9 :./+TtZzjJadmpAB-]{0,24}") {
        for scalar in [Scalar::Date, Scalar::Time, Scalar::Timestamp, Scalar::Timestamptz, Scalar::Interval] {
            let _ = text_input::parse(&text, scalar.into(), &FormatSettings::default());
        }
    }
}

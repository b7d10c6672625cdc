//! Variances, standard deviations, and what regression needs: by the method of Youngs and Cramer for doubles, exactly for numerics.

use bigdecimal::{BigDecimal, RoundingMode};
use common::datum::Datum;
use common::numeric::Numeric;
use common::types::{Scalar, SqlType};
use num_bigint::BigInt;
use num_traits::{Signed, Zero};
use types::decimal;
use types::error::ValueError;

use super::rows::RowState;
use super::table::{RowKind, Shape};

/// One variable's: name, over the whole population, square root.
const VARIANCES: &[(&str, bool, bool)] = &[
    ("variance", false, false),
    ("var_samp", false, false),
    ("var_pop", true, false),
    ("stddev", false, true),
    ("stddev_samp", false, true),
    ("stddev_pop", true, true),
];

/// Two variables': all of doubles.
const REGRESSIONS: &[&str] = &[
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_avgx",
    "regr_avgy",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
];

pub(crate) fn kinds() -> Vec<(String, RowKind)> {
    let mut out = Vec::new();
    for (name, _, _) in VARIANCES {
        for ty in ["int2", "int4", "int8", "numeric"] {
            let state = |_: &Shape<'_>| vec![Scalar::Int8.into(), Scalar::Numeric.into(), Scalar::Numeric.into()];
            out.push((format!("{name}({ty}) numeric"), RowKind::new(|shape| Box::new(Exact::new(shape.name)), state)));
        }
        for ty in ["float4", "float8"] {
            out.push((format!("{name}({ty}) float8"), RowKind::new(moments, float_state)));
        }
    }
    for name in REGRESSIONS {
        out.push((format!("{name}(float8,float8) float8"), RowKind::new(moments, float_state)));
    }
    out.push(("regr_count(float8,float8) int8".into(), RowKind::new(moments, float_state)));
    out
}

fn float_state(_: &Shape<'_>) -> Vec<SqlType> {
    vec![Scalar::Float8.into(); 6]
}

fn variance_of(name: &str) -> Option<(bool, bool)> {
    VARIANCES.iter().find(|row| row.0 == name).map(|row| (row.1, row.2))
}

/// Count, sum and sum of squares.
#[derive(Debug)]
struct Exact {
    population: bool,
    root: bool,
    count: i64,
    sum: Numeric,
    squares: Numeric,
}

impl Exact {
    fn new(name: &str) -> Self {
        let (population, root) = variance_of(name).unwrap_or((false, false));
        Self { population, root, count: 0, sum: Numeric::zero(), squares: Numeric::zero() }
    }
}

impl RowState for Exact {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        let value = match args.first() {
            Some(Datum::Int2(v)) => Numeric::from(*v),
            Some(Datum::Int4(v)) => Numeric::from(*v),
            Some(Datum::Int8(v)) => Numeric::from(*v),
            Some(Datum::Numeric(v)) => v.clone(),
            _ => return Ok(()),
        };
        self.count += 1;
        self.squares = decimal::add(&self.squares, &decimal::mul(&value, &value)?)?;
        self.sum = decimal::add(&self.sum, &value)?;
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![Datum::Int8(self.count), Datum::Numeric(self.sum.clone()), Datum::Numeric(self.squares.clone())]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        if let [Datum::Int8(count), Datum::Numeric(sum), Datum::Numeric(squares)] = state {
            self.count += count;
            self.sum = decimal::add(&self.sum, sum)?;
            self.squares = decimal::add(&self.squares, squares)?;
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        let least = if self.population { 1 } else { 2 };
        if self.count < least {
            return Ok(Datum::Null);
        }
        let (Numeric::Finite(sum), Numeric::Finite(squares)) = (&self.sum, &self.squares) else {
            return Ok(Datum::Numeric(Numeric::NaN));
        };
        let count = BigDecimal::from(self.count);
        let numerator = &count * squares - sum * sum;
        if !numerator.is_positive() {
            return Ok(Datum::Numeric(Numeric::zero()));
        }
        let others = if self.population { count.clone() } else { &count - BigDecimal::from(1) };
        let denominator = count * others;
        let variance = decimal::div(&Numeric::finite(numerator), &Numeric::finite(denominator))?;
        Ok(Datum::Numeric(match variance {
            Numeric::Finite(value) if self.root => Numeric::finite(square_root(&value)),
            other => other,
        }))
    }
}

/// The square root of a number that is not negative, rounded to the number's own scale.
fn square_root(value: &BigDecimal) -> BigDecimal {
    let (unscaled, scale) = value.as_bigint_and_exponent();
    // One digit more than wanted, so that the last one can be rounded.
    let power = BigInt::from(10).pow(u32::try_from(scale + 2).unwrap_or(0));
    BigDecimal::new((unscaled * power).sqrt(), scale + 1).with_scale_round(scale, RoundingMode::HalfUp)
}

/// Count, sums, and sums of products of the deviations.
#[derive(Debug, Default)]
struct Moments {
    name: String,
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

fn moments(shape: &Shape<'_>) -> Box<dyn RowState> {
    Box::new(Moments { name: shape.name.to_owned(), ..Moments::default() })
}

fn float(value: Option<&Datum>) -> Option<f64> {
    match value {
        Some(Datum::Float8(v)) => Some(*v),
        Some(Datum::Float4(v)) => Some(f64::from(*v)),
        _ => None,
    }
}

impl RowState for Moments {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        // Of two variables, the dependent one comes first.
        let Some(first) = float(args.first()) else { return Ok(()) };
        let (y, x) = float(args.get(1)).map_or((0.0, first), |x| (first, x));
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if self.n > 1.0 {
            let (dx, dy) = (x * self.n - self.sx, y * self.n - self.sy);
            let scale = 1.0 / (self.n * (self.n - 1.0));
            self.sxx += dx * dx * scale;
            self.syy += dy * dy * scale;
            self.sxy += dx * dy * scale;
        } else if !x.is_finite() || !y.is_finite() {
            (self.sxx, self.syy, self.sxy) = (f64::NAN, f64::NAN, f64::NAN);
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        [self.n, self.sx, self.sxx, self.sy, self.syy, self.sxy].map(Datum::Float8).to_vec()
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        let values: Vec<f64> = state.iter().filter_map(|v| float(Some(v))).collect();
        let [n, sx, sxx, sy, syy, sxy] = values[..] else { return Ok(()) };
        if n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            (self.n, self.sx, self.sxx, self.sy, self.syy, self.sxy) = (n, sx, sxx, sy, syy, sxy);
            return Ok(());
        }
        let total = self.n + n;
        let (dx, dy) = (self.sx / self.n - sx / n, self.sy / self.n - sy / n);
        let weight = self.n * n / total;
        self.sxx += sxx + weight * dx * dx;
        self.syy += syy + weight * dy * dy;
        self.sxy += sxy + weight * dx * dy;
        self.sx += sx;
        self.sy += sy;
        self.n = total;
        Ok(())
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        if self.name == "regr_count" {
            return Ok(Datum::Int8(self.n as i64));
        }
        Ok(self.result().map_or(Datum::Null, Datum::Float8))
    }
}

impl Moments {
    fn result(&self) -> Option<f64> {
        let Self { n, sx, sxx, sy, syy, sxy, .. } = *self;
        if let Some((population, root)) = variance_of(&self.name) {
            let divisor = if population { n } else { n - 1.0 };
            let variance = (divisor >= 1.0).then_some(sxx / divisor)?;
            return Some(if root { variance.sqrt() } else { variance });
        }
        if n < 1.0 {
            return None;
        }
        let level = sxx.is_zero();
        match self.name.as_str() {
            "corr" => (!level && !syy.is_zero()).then(|| sxy / (sxx * syy).sqrt()),
            "covar_pop" => Some(sxy / n),
            "covar_samp" => (n >= 2.0).then(|| sxy / (n - 1.0)),
            "regr_avgx" => Some(sx / n),
            "regr_avgy" => Some(sy / n),
            "regr_sxx" => Some(sxx),
            "regr_syy" => Some(syy),
            "regr_sxy" => Some(sxy),
            "regr_slope" => (!level).then(|| sxy / sxx),
            "regr_intercept" => (!level).then(|| (sy - sx * sxy / sxx) / n),
            "regr_r2" => (!level).then(|| if syy.is_zero() { 1.0 } else { sxy * sxy / (sxx * syy) }),
            _ => None,
        }
    }
}

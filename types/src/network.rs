//! Addresses: `inet`, `cidr`, `macaddr`.
//!
//! An address of a network travels as bytes whose order is the values': the family (4 or 6), the network's bits with zeros behind them, the
//! length of the mask, the whole address. A `macaddr` is its six bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::sqlstate::SqlState;

use crate::error::ValueError;

/// An address with the length of its network's mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inet {
    pub address: IpAddr,
    pub mask: u8,
}

impl Inet {
    /// The length of a mask that covers the whole address.
    pub fn width(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The address as a number, in the low bits.
    pub fn number(self) -> u128 {
        match self.address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        }
    }

    /// An address of the same family and mask.
    pub fn with_number(self, number: u128) -> Self {
        let address = if self.address.is_ipv4() { IpAddr::V4(Ipv4Addr::from(number as u32)) } else { IpAddr::V6(Ipv6Addr::from(number)) };
        Self { address, ..self }
    }

    /// All ones, as wide as the address.
    fn ones(self) -> u128 {
        u128::MAX >> (128 - u32::from(self.width()))
    }

    /// The bits of the mask.
    fn mask_bits(self) -> u128 {
        let host = u32::from(self.width() - self.mask);
        if host == 128 { 0 } else { self.ones() >> host << host }
    }

    /// The first address of the network.
    pub fn network(self) -> Self {
        self.with_number(self.number() & self.mask_bits())
    }

    /// The last address of the network.
    pub fn broadcast(self) -> Self {
        self.with_number(self.number() | (self.ones() & !self.mask_bits()))
    }

    /// The mask as an address.
    pub fn netmask(self) -> Self {
        Self { mask: self.width(), ..self.with_number(self.mask_bits()) }
    }

    /// The opposite of the mask as an address.
    pub fn hostmask(self) -> Self {
        Self { mask: self.width(), ..self.with_number(self.ones() & !self.mask_bits()) }
    }

    /// The same address with another mask; 22023.
    pub fn with_mask(self, length: i32) -> Result<Self, ValueError> {
        let length = if length == -1 { i32::from(self.width()) } else { length };
        match u8::try_from(length).ok().filter(|mask| *mask <= self.width()) {
            Some(mask) => Ok(Self { mask, ..self }),
            None => Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid mask length: {length}"))),
        }
    }

    /// Whether the other's network lies within this one's, or is it.
    pub fn includes(self, other: Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && other.mask >= self.mask
            && (self.number() ^ other.number()) & self.mask_bits() == 0
    }

    /// Whether one of the networks includes the other.
    pub fn overlaps(self, other: Self) -> bool {
        self.includes(Self { mask: other.mask.max(self.mask), ..other }) || other.includes(Self { mask: self.mask.max(other.mask), ..self })
    }

    /// The smallest network that includes both; 22023 for different families.
    pub fn merge(self, other: Self) -> Result<Self, ValueError> {
        if self.width() != other.width() {
            return Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot merge addresses from different families"));
        }
        let differing = 128 - (self.number() ^ other.number()).leading_zeros();
        let common = self.width() - u8::try_from(differing).unwrap_or(self.width());
        Ok(Self { mask: self.mask.min(other.mask).min(common), ..self }.network())
    }

    /// `a op b`, bit by bit; 22023 for different families.
    pub fn combine(self, other: Self, symbol: &str, op: fn(u128, u128) -> u128) -> Result<Self, ValueError> {
        if self.width() != other.width() {
            let verb = if symbol == "&" { "AND" } else { "OR" };
            return Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("cannot {verb} inet values of different sizes")));
        }
        Ok(Self { mask: self.mask.max(other.mask), ..self.with_number(op(self.number(), other.number())) })
    }

    /// `~a`
    pub fn inverted(self) -> Self {
        self.with_number(!self.number() & self.ones())
    }

    /// The address that many after it; 22003.
    pub fn add(self, count: i64) -> Result<Self, ValueError> {
        let distance = u128::from(count.unsigned_abs());
        let moved = if count >= 0 { self.number().checked_add(distance) } else { self.number().checked_sub(distance) };
        moved.filter(|number| *number <= self.ones()).map(|number| self.with_number(number)).ok_or_else(out_of_range)
    }

    /// How far the address is behind the other; 22003, or 22023 for different families.
    pub fn minus(self, other: Self) -> Result<i64, ValueError> {
        if self.width() != other.width() {
            return Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot subtract inet values of different sizes"));
        }
        let (a, b) = (self.number(), other.number());
        let distance = i128::try_from(a.abs_diff(b)).map_err(|_| out_of_range())?;
        i64::try_from(if a >= b { distance } else { -distance }).map_err(|_| out_of_range())
    }

    /// The form in which it travels.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![if self.address.is_ipv4() { 4 } else { 6 }];
        put_address(self.network().address, &mut out);
        out.push(self.mask);
        put_address(self.address, &mut out);
        out
    }

    /// Reads what [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            4 => Some(Self { mask: *bytes.get(5)?, address: IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(6..10)?).ok()?)) }),
            _ => Some(Self { mask: *bytes.get(17)?, address: IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(18..34)?).ok()?)) }),
        }
    }

    /// As inet prints; `is_cidr` shows the mask always.
    pub fn text(self, is_cidr: bool) -> String {
        let address = address_text(self.address);
        if is_cidr || self.mask != self.width() { format!("{address}/{}", self.mask) } else { address }
    }

    /// `abbrev`: a cidr without its zeros at the end.
    pub fn abbreviated(self, is_cidr: bool) -> String {
        let IpAddr::V4(v4) = self.address else { return self.text(is_cidr) };
        if !is_cidr {
            return self.text(false);
        }
        let shown = usize::from(self.mask.div_ceil(8)).max(1);
        let octets: Vec<String> = v4.octets()[..shown].iter().map(ToString::to_string).collect();
        format!("{}/{}", octets.join("."), self.mask)
    }

    /// The wire form.
    pub fn write_binary(self, is_cidr: bool, out: &mut Vec<u8>) {
        // PostgreSQL's numbers of the families.
        out.push(if self.address.is_ipv4() { 2 } else { 3 });
        out.push(self.mask);
        out.push(u8::from(is_cidr));
        out.push(self.width() / 8);
        put_address(self.address, out);
    }

    /// Reads the wire form; 22P03.
    pub fn read_binary(bytes: &[u8], is_cidr: bool) -> Result<Self, ValueError> {
        let name = if is_cidr { "cidr" } else { "inet" };
        let wrong =
            |what: &str| ValueError::new(SqlState::INVALID_BINARY_REPRESENTATION, format!("invalid {what} in external \"{name}\" value"));
        let (&[family, mask, _, length], rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("length"))?;
        let address = match (family, length) {
            (2, 4) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(rest).map_err(|_| wrong("length"))?)),
            (3, 16) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(rest).map_err(|_| wrong("length"))?)),
            (2 | 3, _) => return Err(wrong("length")),
            _ => return Err(wrong("address family")),
        };
        let value = Self { address, mask };
        if mask > value.width() {
            return Err(wrong("bits"));
        }
        if is_cidr && value.network().address != address {
            return Err(ValueError::Other {
                sqlstate: SqlState::INVALID_BINARY_REPRESENTATION,
                message: "invalid external \"cidr\" value".to_owned(),
                detail: Some("Value has bits set to right of mask.".to_owned()),
                hint: None,
            });
        }
        Ok(value)
    }
}

fn out_of_range() -> ValueError {
    ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "result is out of range")
}

fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
    }
}

/// An address as PostgreSQL prints it.
pub fn address_text(address: IpAddr) -> String {
    address.to_string()
}

/// Reads an inet or a cidr.
pub fn parse(text: &str, is_cidr: bool) -> Result<Inet, ValueError> {
    let name = if is_cidr { "cidr" } else { "inet" };
    let wrong = || ValueError::syntax(name, text);
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let mask = mask.map(|m| if m.bytes().all(|b| b.is_ascii_digit()) { m.parse::<u8>().map_err(|_| wrong()) } else { Err(wrong()) });
    let mask = mask.transpose()?;
    let (parsed, classful) = if address.contains(':') {
        (IpAddr::V6(address.parse().map_err(|_| wrong())?), 128)
    } else {
        let (v4, mask) = parse_v4(address, is_cidr || mask.is_some()).ok_or_else(wrong)?;
        (IpAddr::V4(v4), mask)
    };
    let value = Inet { address: parsed, mask: 0 };
    let mask = mask.unwrap_or(if is_cidr { classful } else { value.width() });
    if mask > value.width() {
        return Err(wrong());
    }
    let value = Inet { mask, ..value };
    if is_cidr && value.network().address != value.address {
        return Err(ValueError::Other {
            sqlstate: SqlState::INVALID_TEXT_REPRESENTATION,
            message: format!("invalid cidr value: \"{text}\""),
            detail: Some("Value has bits set to right of mask.".to_owned()),
            hint: None,
        });
    }
    Ok(value)
}

/// Octets, of which the last may be missing where a mask tells the rest; with the length of the mask that is meant without one.
fn parse_v4(text: &str, may_be_short: bool) -> Option<(Ipv4Addr, u8)> {
    let mut octets = [0_u8; 4];
    let mut count = 0;
    for part in text.split('.') {
        if count == 4 || part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        octets[count] = part.parse().ok()?;
        count += 1;
    }
    if count < 4 && !may_be_short {
        return None;
    }
    // Without a mask, the octets that are there count, and at least as many as the class of the address has.
    let class = match octets[0] {
        240.. => 32,
        224.. => 8,
        192.. => 24,
        128.. => 16,
        _ => 8,
    };
    let given = u8::try_from(count * 8).ok()?;
    Some((Ipv4Addr::from(octets), class.max(given)))
}

/// Reads a macaddr: six bytes in hexadecimal, in one of PostgreSQL's seven forms.
pub fn parse_macaddr(text: &str) -> Result<[u8; 6], ValueError> {
    let wrong = || ValueError::syntax("macaddr", text);
    let trimmed = text.trim();
    let separator = trimmed.chars().find(|c| !c.is_ascii_hexdigit());
    let parts: Vec<&str> = match separator {
        Some(c @ (':' | '-' | '.')) => trimmed.split(c).collect(),
        Some(_) => return Err(wrong()),
        None => vec![trimmed],
    };
    let digits: String = match (parts.len(), separator) {
        (6, Some(':' | '-')) if parts.iter().all(|p| matches!(p.len(), 1 | 2)) => parts.iter().map(|p| format!("{p:0>2}")).collect(),
        (2, Some(':' | '-')) if parts.iter().all(|p| p.len() == 6) => parts.concat(),
        (3, Some('.' | '-')) if parts.iter().all(|p| p.len() == 4) => parts.concat(),
        (1, None) if trimmed.len() == 12 => trimmed.to_owned(),
        _ => return Err(wrong()),
    };
    let number = u64::from_str_radix(&digits, 16).map_err(|_| wrong())?;
    let [_, _, bytes @ ..] = number.to_be_bytes();
    Ok(bytes)
}

/// `08:00:2b:01:02:03`
pub fn write_macaddr(bytes: &[u8], out: &mut Vec<u8>) {
    let shown: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    out.extend_from_slice(shown.join(":").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_before_what_is_in_them() {
        let order = ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/32", "10.0.0.1/32", "10.1.2.3/8", "::/0", "::1/128"];
        let bytes = |text: &str| parse(text, false).unwrap().to_bytes();
        assert!(bytes(order[0]) < bytes(order[4]) && bytes(order[4]) < bytes(order[1]));
        for pair in [(0, 1), (1, 2), (2, 3), (3, 5), (5, 6)] {
            assert!(bytes(order[pair.0]) < bytes(order[pair.1]), "{pair:?}");
        }
        for text in order {
            let value = parse(text, false).unwrap();
            assert_eq!(Inet::from_bytes(&value.to_bytes()), Some(value));
        }
    }
}

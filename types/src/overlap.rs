//! OVERLAPS: whether two periods have a moment in common.

/// Whether the periods overlap; `None` when a missing end leaves it open. A period is its two ends in any order, and has its start but
/// not its end, unless they are the same.
pub fn overlaps<T: Copy + Ord>(first: (Option<T>, Option<T>), second: (Option<T>, Option<T>)) -> Option<bool> {
    let ((start, end), (other_start, other_end)) = (ordered(first)?, ordered(second)?);
    let (end, later_start, earlier_end) = match start.cmp(&other_start) {
        std::cmp::Ordering::Equal => return (end.is_some() && other_end.is_some()).then_some(true),
        std::cmp::Ordering::Greater => (end, start, other_end),
        std::cmp::Ordering::Less => (other_end, other_start, end),
    };
    // The later one begins before the earlier one ends, or its own end decides nothing.
    if later_start < earlier_end? { Some(true) } else { end.map(|_| false) }
}

/// The start and the end; the start is the end that is known if only one is.
fn ordered<T: Copy + Ord>((a, b): (Option<T>, Option<T>)) -> Option<(T, Option<T>)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.min(b), Some(a.max(b)))),
        (Some(only), None) | (None, Some(only)) => Some((only, None)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::overlaps;

    #[test]
    fn ends_do_not_belong_to_periods() {
        assert_eq!(overlaps((Some(1), Some(3)), (Some(3), Some(5))), Some(false));
        assert_eq!(overlaps((Some(1), Some(4)), (Some(5), Some(3))), Some(true));
        assert_eq!(overlaps((Some(1), Some(1)), (Some(1), Some(1))), Some(true));
        assert_eq!(overlaps((Some(1), None), (Some(3), Some(5))), None);
        assert_eq!(overlaps((Some(4), None), (Some(3), Some(5))), Some(true));
        assert_eq!(overlaps((Some(6), None), (Some(3), Some(5))), None);
        assert_eq!(overlaps((None::<i32>, None), (Some(3), Some(5))), None);
    }
}

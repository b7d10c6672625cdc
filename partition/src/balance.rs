//! Where new partitions go, and which moves even out the load. Pure: sizes in, decisions out.

/// Places `count` new partitions on workers that hold `loads` partitions each: for every partition the index of its worker. Runs of neighbouring
/// partitions are dealt round, starting at the least loaded worker, so that a scan's ranges spread.
pub fn place(count: usize, loads: &[usize]) -> Vec<usize> {
    let mut loads = loads.to_vec();
    (0..count)
        .filter_map(|_| {
            let least = (0..loads.len()).min_by_key(|&worker| loads[worker])?;
            loads[least] += 1;
            Some(least)
        })
        .collect()
}

/// One move of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// Index into the partitions given.
    pub partition: usize,
    pub to: usize,
}

/// The fewest moves after which no worker holds two partitions more than another. `owners` gives each partition's worker, as an index below
/// `workers`.
pub fn rebalance(owners: &[usize], workers: usize) -> Vec<Move> {
    let mut loads = vec![0usize; workers];
    for &owner in owners {
        if let Some(load) = loads.get_mut(owner) {
            *load += 1;
        }
    }
    let mut owners = owners.to_vec();
    let mut moves = Vec::new();
    loop {
        let (Some(most), Some(least)) = ((0..workers).max_by_key(|&w| loads[w]), (0..workers).min_by_key(|&w| loads[w])) else {
            return moves;
        };
        if loads[most] - loads[least] < 2 {
            return moves;
        }
        let Some(partition) = owners.iter().position(|&owner| owner == most) else { return moves };
        owners[partition] = least;
        loads[most] -= 1;
        loads[least] += 1;
        moves.push(Move { partition, to: least });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moves_even_out_and_are_the_fewest(owners in proptest::collection::vec(0usize..5, 0..60)) {
            let moves = rebalance(&owners, 5);
            let mut after = owners.clone();
            for step in &moves {
                after[step.partition] = step.to;
            }
            let load = |owners: &[usize], w: usize| owners.iter().filter(|&&o| o == w).count();
            let loads: Vec<usize> = (0..5).map(|w| load(&after, w)).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() < 2);
            let share = owners.len() / 5;
            let spare = owners.len() % 5;
            let mut before: Vec<usize> = (0..5).map(|w| load(&owners, w)).collect();
            before.sort_unstable_by(|a, b| b.cmp(a));
            let needed: usize = before.iter().enumerate().map(|(i, &l)| l.saturating_sub(share + usize::from(i < spare))).sum();
            prop_assert_eq!(moves.len(), needed);
        }
    }

    #[test]
    fn new_partitions_go_where_there_are_few() {
        assert_eq!(place(4, &[3, 0, 1]), [1, 1, 2, 1]);
        assert_eq!(place(3, &[]), Vec::<usize>::new());
    }
}

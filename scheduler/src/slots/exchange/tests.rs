use proptest::prelude::*;

use super::*;

fn standing(pods: &[bool]) -> Standing {
    let mut standing = Standing::default();
    for (ordinal, is_up) in (1..).zip(pods) {
        standing.all.insert(ordinal);
        if *is_up {
            standing.up.insert(ordinal);
        }
    }
    standing
}

fn bounds(wanted: u32, surge: u32, unavailable: u32) -> Bounds {
    Bounds {
        wanted,
        most: wanted + surge,
        least_up: wanted.saturating_sub(unavailable),
    }
}

proptest! {
    /// Whatever stands where: not too many, not too few, and it comes to its end.
    #[test]
    fn an_exchange_keeps_its_bounds_and_ends(
        wanted in 0_u32..8,
        surge in 0_u32..4,
        unavailable in 0_u32..4,
        old in prop::collection::vec(any::<bool>(), 0..10),
        new in prop::collection::vec(any::<bool>(), 0..10),
    ) {
        let surge = if unavailable == 0 { surge.max(1) } else { surge };
        let bounds = bounds(wanted, surge, unavailable);
        let (mut old, mut new) = (standing(&old), standing(&new));
        for _ in 0..64 {
            let moves = Moves::between(&old, &new, bounds);
            let up_before = old.up.len() + new.up.len();
            let all_before = old.all.len() + new.all.len();
            for slot in &moves.left {
                old.all.remove(slot);
                old.up.remove(slot);
            }
            for slot in &moves.surplus {
                new.all.remove(slot);
                new.up.remove(slot);
            }
            new.all.extend(&moves.taken);
            let up = old.up.len() + new.up.len();
            let all = old.all.len() + new.all.len();
            prop_assert!(up >= up_before.min(bounds.least_up as usize), "{moves:?}");
            prop_assert!(all <= all_before.max(bounds.most as usize), "{moves:?}");
            // In the end whatever was started gets up.
            let started = new.all.clone();
            new.up.extend(started);
        }
        prop_assert!(old.all.is_empty(), "{old:?}");
        prop_assert_eq!(new.up, (1..=wanted).collect::<BTreeSet<u32>>());
    }
}

//! The kernel's own VLAN-filtering bridge is the oracle. Random frames under random policies go
//! into it, into netagent over a VLAN-aware bridge and into netagent over a VLAN-unaware one. The
//! same bytes must leave every port of the three. A [`rule::Rule`] names each intended difference,
//! and the test demands exactly that difference.
//!
//! `NETAGENT_SEED`, `NETAGENT_POLICIES` and `NETAGENT_FRAMES` (all together) change what is tried.
//! A failure is shrunk and printed as a [`case::Case`] that belongs in regressions.rs.

mod batch;
mod bridges;
mod case;
mod compare;
mod generate;
mod output;
mod policy;
mod regressions;
mod rule;
mod sent;
mod shrink;
mod socket;

use std::{collections::BTreeSet, env, time::Duration};

use self::{
    bridges::Bridges,
    case::Case,
    compare::{Figures, Mismatch, compare},
    rule::Around,
};
use crate::{
    Feature,
    lab::{kernel_is_at_least, kernel_release},
    needs,
    rng::Rng,
    soak,
};

/// Numbers of policies and of frames: on one kernel of the matrix, on each other kernel, and on
/// each kernel by `make soak`. The environment can change them.
const FULL: (u32, u32) = (67, 34_000);
const SHORT: (u32, u32) = (20, 10_000);
const SOAK: (u32, u32) = (200, 100_000);
/// How long to wait for late frames, and for missing frames.
const GRACE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a case may be repeated.
const REPEATS: u32 = 10;

/// Sends the frames of a case and compares the outputs. Repeats a case that differs if the kernel
/// has lost frames, because a queue was full. A difference without a loss is a failure.
fn try_case(
    bridges: &mut Bridges,
    case: Case,
    around: Around,
    batch: Option<usize>,
) -> Result<Figures, Mismatch> {
    let mut repeats = 0;
    loop {
        let result = try_once(bridges, case, around, batch);
        let lost = if result.is_err() { bridges.lost() } else { 0 };
        if lost == 0 || repeats == REPEATS {
            return result.map(|figures| Figures { repeats, ..figures });
        }
        repeats += 1;
        println!("oracle: the machine has lost {lost} frames: repeating the policy");
    }
}

fn try_once(
    bridges: &mut Bridges,
    case: Case,
    around: Around,
    batch: Option<usize>,
) -> Result<Figures, Mismatch> {
    bridges.apply(&case.policy);
    let (mut outputs, first) = bridges.send(case.frames, batch);
    bridges.collect(&mut outputs, GRACE);
    let compared = compare(&case.policy, case.frames, around, &outputs, first);
    if compared.is_err() {
        // Frames that are missing, of netagent or of the kernel, may be late.
        bridges.collect(&mut outputs, PATIENCE);
        return compare(&case.policy, case.frames, around, &outputs, first);
    }
    compared
}

fn around() -> Around {
    Around { stacks_tags: kernel_is_at_least(6, 12) }
}

/// A number from the environment.
fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn count(name: &str, default: u32) -> u32 {
    variable(name).map_or(default, |value| u32::try_from(value).unwrap())
}

#[test]
fn netagent_does_what_the_kernels_bridge_does() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let seed = variable("NETAGENT_SEED").unwrap_or_else(|| Rng::seed(&kernel_release()));
    let one = kernel_is_at_least(6, 12) && !kernel_is_at_least(6, 13);
    let amount = if soak() {
        SOAK
    } else if one {
        FULL
    } else {
        SHORT
    };
    let policies = count("NETAGENT_POLICIES", amount.0);
    let frames = count("NETAGENT_FRAMES", amount.1);
    println!("oracle: NETAGENT_SEED={seed} NETAGENT_POLICIES={policies} NETAGENT_FRAMES={frames}");
    let (mut rng, around) = (Rng(seed), around());
    let mut bridges = Bridges::new();
    let (mut figures, mut lengths) = (Figures::default(), BTreeSet::new());
    for policy_number in 0..policies {
        let policy = generate::policy(&mut rng);
        // The remainder goes to the last policies.
        let [start, end] = [policy_number, policy_number + 1].map(|n| frames * n / policies);
        let of_policy = (start..end).map(|n| generate::frame(&mut rng, &policy, around, n));
        let case = Case { policy, frames: generate::keep(of_policy.collect()) };
        lengths.extend(case.frames.iter().map(|sent| sent.to_bytes(0).0.len()));
        match try_case(&mut bridges, case, around, None) {
            Ok(of_case) => figures.add(of_case),
            Err(mismatch) => {
                println!("oracle: policy {policy_number}: {mismatch}{}", bridges.drops());
                let (case, mismatch) = shrink::shrink(&mut bridges, case, mismatch, around);
                panic!("{mismatch}a case for regressions.rs:\n{case}");
            }
        }
    }
    let Figures { equal, differences, repeats } = figures;
    let lengths = lengths.range(..=1518).count();
    println!(
        "oracle: kernel {}: {frames} frames of {lengths} lengths over {policies} policies; {equal} came out alike, \
         {} not, on purpose: {differences:?}; {repeats} policies were repeated",
        kernel_release(),
        differences.values().sum::<u64>()
    );
    // A short run does not have all lengths.
    let all = frames < FULL.1 || lengths == 1518 - 14 + 1;
    assert!(all, "some lengths were not tried");
}

#[test]
fn former_differences_do_not_come_back() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let mut bridges = Bridges::new();
    for case in regressions::REGRESSIONS {
        if let Err(mismatch) = try_case(&mut bridges, *case, around(), Some(1)) {
            panic!("{mismatch}{case}");
        }
    }
}

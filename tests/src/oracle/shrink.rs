//! Shrinks a failed case to a few frames and a small policy.

use super::{
    Around, Bridges, Case, Mismatch, generate,
    policy::{Native, Policy, Vm},
    sent::{Content, Sent},
    try_case,
};

/// Each try applies a policy, which takes seconds. After this many tries a case is small enough.
const TRIES: usize = 100;

/// Tries smaller cases as long as they fail.
pub fn shrink(
    bridges: &mut Bridges,
    case: Case,
    mismatch: Mismatch,
    around: Around,
) -> (Case, Mismatch) {
    let mut smallest = (case, mismatch);
    let mut tried = Vec::new();
    while tried.len() < TRIES {
        let candidates = candidates(smallest.0, smallest.1.frame);
        let next = candidates.into_iter().find(|case| {
            !tried.contains(case) && generate::is_fair(&case.policy, case.frames, around)
        });
        let Some(case) = next else { break };
        tried.push(case);
        // One frame at a time: a failure that needs a burst is not shrunk further.
        if let Err(mismatch) = try_case(bridges, case, around, Some(1)) {
            smallest = (case, mismatch);
        }
    }
    smallest
}

/// Smaller cases, those that save most first.
fn candidates(case: Case, culprit: usize) -> Vec<Case> {
    let Case { policy, frames } = case;
    let with_frames = |frames: Vec<Sent>| Case { policy, frames: generate::keep(frames) };
    let mut candidates = Vec::new();
    let last = frames[culprit];
    if frames.len() > 1 {
        candidates.push(with_frames(vec![last]));
        let teacher = frames[..culprit].iter().rfind(|sent| sent.source == last.destination);
        candidates.extend(teacher.map(|teacher| with_frames(vec![*teacher, last])));
        let earlier = culprit.div_ceil(2);
        if frames.len() > 2 {
            candidates.push(with_frames(frames[earlier..=culprit].to_vec()));
            candidates.push(with_frames([&frames[..earlier], &[last]].concat()));
        }
        if frames.len() <= 16 {
            for without in (0..frames.len()).filter(|index| *index != culprit) {
                let mut fewer = frames.to_vec();
                fewer.remove(without);
                candidates.push(with_frames(fewer));
            }
        }
    }
    if frames.len() <= 16 {
        candidates.extend(policies(policy, frames));
        for (index, sent) in frames.iter().enumerate() {
            for simpler in simpler_frames(*sent) {
                let mut frames = frames.to_vec();
                frames[index] = simpler;
                candidates.push(with_frames(frames));
            }
        }
    }
    candidates
}

/// Policies with fewer ports, then with simpler ones.
fn policies(policy: Policy, frames: &'static [Sent]) -> Vec<Case> {
    let mut cases = Vec::new();
    for without in 1..=policy.vms.len() {
        if frames.iter().all(|sent| sent.from != without) {
            let mut vms = policy.vms.to_vec();
            vms.remove(without - 1);
            let moved = frames.iter().map(|sent| {
                let from = if sent.from > without { sent.from - 1 } else { sent.from };
                Sent { from, ..*sent }
            });
            let frames = generate::keep(moved.collect());
            cases.push(Case { policy: Policy { vms: generate::keep(vms), ..policy }, frames });
        }
    }
    let mut push = |policy| cases.push(Case { policy, frames });
    if policy.xdp {
        push(Policy { xdp: false, ..policy });
    }
    let needs_native = policy.vms.iter().any(|vm| matches!(vm, Vm::Plain { .. }));
    if policy.native != Native::None && !needs_native {
        push(Policy { native: Native::None, ..policy });
    }
    for (index, vm) in policy.vms.iter().enumerate() {
        for simpler in simpler_vms(*vm) {
            let mut vms = policy.vms.to_vec();
            vms[index] = simpler;
            push(Policy { vms: generate::keep(vms), ..policy });
        }
    }
    cases
}

fn simpler_vms(vm: Vm) -> Vec<Vm> {
    use super::policy::Admit;
    let Vm::Trunk { vids, native, admit } = vm else { return Vec::new() };
    let mut simpler = Vec::new();
    if vids.len() > 1 {
        for without in 0..vids.len() {
            let mut vids = vids.to_vec();
            vids.remove(without);
            simpler.push(Vm::Trunk { vids: generate::keep(vids), native, admit });
        }
    }
    if native != Native::None && admit != Admit::Untagged {
        simpler.push(Vm::Trunk { vids, native: Native::None, admit });
    }
    if admit != Admit::All {
        simpler.push(Vm::Trunk { vids, native, admit: Admit::All });
    }
    simpler
}

fn simpler_frames(sent: Sent) -> Vec<Sent> {
    const PLAIN: Content = Content::Test(46);
    let mut simpler = Vec::new();
    if sent.content != PLAIN {
        simpler.push(Sent { content: PLAIN, ..sent });
    }
    if sent.hidden {
        simpler.push(Sent { hidden: false, ..sent });
    }
    if let [fewer @ .., _] = sent.tags
        && !matches!(sent.content, Content::Cut(_))
    {
        simpler.push(Sent { tags: fewer, ..sent });
    }
    if sent.tags.iter().any(|(_, tci)| tci >> 12 != 0) {
        let tags = sent.tags.iter().map(|(tpid, tci)| (*tpid, tci & 0xfff));
        simpler.push(Sent { tags: generate::keep(tags.collect()), ..sent });
    }
    if sent.destination != [0xff; 6] {
        simpler.push(Sent { destination: [0xff; 6], ..sent });
    }
    simpler
}

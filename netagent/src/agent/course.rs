//! The course of an apply that was asked to stop: what has begun is brought to its end first.
//!
//! A segment is carried out in several units (bond, bridge, uplink, host interface), and between
//! them its NICs may reach nobody. The port of a VM is a single unit.

use std::collections::BTreeSet;

use crate::{
    plan::Unit,
    state::{Part, Subject},
};

/// The course of an apply.
#[derive(Default)]
pub struct Course {
    /// Parts of the node of which a unit was carried out.
    begun: BTreeSet<Subject>,
    /// Something was taken away that any segment may have to replace.
    took_away: bool,
    stopping: bool,
}

impl Course {
    /// Notes that a unit is being carried out.
    pub fn begin(&mut self, unit: &Unit) {
        self.begun.insert(unit.subject.clone());
        let is_former =
            matches!(unit.id.part, Part::FormerPort | Part::FormerLink | Part::FormerMember);
        self.took_away |= is_former && !is_of_vm(unit);
    }

    /// Stop as soon as nothing is half done.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether it was asked to stop.
    pub const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether a unit is to be carried out.
    pub fn includes(&self, unit: &Unit) -> bool {
        let is_begun = self.took_away || self.begun.contains(&unit.subject);
        !self.stopping || !is_of_vm(unit) && is_begun
    }
}

fn is_of_vm(unit: &Unit) -> bool {
    matches!(unit.subject, Subject::Port(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::unit;

    fn segment(part: Part, device: &str, segment: &str) -> Unit {
        unit(part, device, Subject::Segment(segment.to_owned()))
    }

    fn port(part: Part, device: &str) -> Unit {
        unit(part, device, Subject::Port(device.parse().unwrap()))
    }

    #[test]
    fn a_stop_completes_the_segments_that_have_begun_and_nothing_else() {
        let mut course = Course::default();
        let (bond, bridge) =
            (segment(Part::Bond, "oob-bo", "oob"), segment(Part::Bridge, "oob-br", "oob"));
        let host = segment(Part::Host, "oob-br.10", "oob");
        let other = segment(Part::Bond, "mgmt-bo", "mgmt");
        let (vm, next_vm) = (port(Part::Port, "tap1"), port(Part::Port, "tap2"));
        for unit in [&bond, &bridge, &host, &other, &vm] {
            assert!(course.includes(unit));
        }
        course.begin(&bond);
        course.begin(&vm);
        course.stop();
        assert!(course.includes(&bridge) && course.includes(&host));
        assert!(!course.includes(&other), "not begun");
        assert!(!course.includes(&vm) && !course.includes(&next_vm), "a port is a single unit");
    }

    #[test]
    fn a_stop_after_a_removal_completes_every_segment() {
        let removals = [
            (Part::FormerPort, "eth1"),
            (Part::FormerLink, "old-bo"),
            (Part::FormerMember, "eth0"),
        ];
        for (part, device) in removals {
            let mut course = Course::default();
            course.begin(&unit(part, device, Subject::Node));
            course.stop();
            assert!(course.includes(&segment(Part::Bond, "mgmt-bo", "mgmt")));
            assert!(!course.includes(&port(Part::Port, "tap1")));
        }
        let mut course = Course::default();
        course.begin(&port(Part::FormerPort, "tap1"));
        course.stop();
        assert!(!course.includes(&segment(Part::Bond, "mgmt-bo", "mgmt")));
    }
}

//! Cases that netagent once got wrong, as the oracle printed them.

use super::case::Case;

pub const REGRESSIONS: &[Case] = &[];

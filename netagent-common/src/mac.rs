//! Ethernet addresses as numbers, their first byte lowest: so a program reads one with two loads.

/// The number of an address.
#[inline(always)]
pub const fn number(mac: [u8; 6]) -> u64 {
    let [one, two, three, four, five, six] = mac;
    u64::from_le_bytes([one, two, three, four, five, six, 0, 0])
}

/// Whether an address is that of a group.
#[inline(always)]
pub const fn is_group(mac: u64) -> bool {
    mac & 1 != 0
}

/// Whether a destination is one of 01:80:C2:00:00:00 to 0F, which a bridge never forwards: STP,
/// pause, LACP and the other slow protocols, LLDP (IEEE 802.1Q-2022 table 8-1).
#[inline(always)]
pub const fn is_link_local(destination: u64) -> bool {
    destination & 0xf0ff_ffff_ffff == 0x0000_00c2_8001
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixteen_groups_are_link_local() {
        let is = |mac| is_link_local(number(mac));
        assert!(is([0x01, 0x80, 0xc2, 0, 0, 0x00]));
        assert!(is([0x01, 0x80, 0xc2, 0, 0, 0x0f]));
        assert!(!is([0x01, 0x80, 0xc2, 0, 0, 0x10]));
        assert!(!is([0x01, 0x80, 0xc2, 0, 1, 0x00]));
        assert!(!is([0xff; 6]));
    }

    #[test]
    fn the_first_byte_is_the_lowest_of_the_number() {
        assert_eq!(number([1, 2, 3, 4, 5, 6]), 0x0605_0403_0201);
    }

    #[test]
    fn the_lowest_bit_of_the_first_byte_makes_a_group() {
        assert!(is_group(number([0x01, 0, 0, 0, 0, 0])) && is_group(number([0xff; 6])));
        assert!(!is_group(number([0x02, 1, 1, 1, 1, 1])));
    }
}

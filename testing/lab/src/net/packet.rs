//! What the wide-area network reads of a packet: IPv4's addresses, and whether it opens a TCP connection.

use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    /// The port that a TCP SYN without ACK asks for.
    pub(crate) opens: Option<u16>,
}

const TCP: u8 = 6;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Packet {
    /// None for what is not whole IPv4, such as the router's own IPv6 chatter.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        if first >> 4 != 4 {
            return None;
        }
        let four = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(<[u8; 4]>::into);
        let tcp = bytes.get(usize::from(first & 0x0f) * 4..).filter(|_| bytes.get(9) == Some(&TCP));
        let opens = tcp.and_then(|tcp| {
            let flags = *tcp.get(13)?;
            let port = u16::from_be_bytes([*tcp.get(2)?, *tcp.get(3)?]);
            (flags & (SYN | ACK) == SYN).then_some(port)
        });
        Some(Self { source: four(12)?, destination: four(16)?, opens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x45;
        bytes[9] = TCP;
        bytes[12..20].copy_from_slice(&[10, 77, 2, 5, 10, 77, 1, 10]);
        bytes[22..24].copy_from_slice(&443_u16.to_be_bytes());
        bytes[33] = flags;
        bytes
    }

    #[test]
    fn a_first_syn_is_told_from_its_answer() {
        let packet = Packet::read(&segment(SYN)).unwrap();
        let (source, destination) = (Ipv4Addr::new(10, 77, 2, 5), Ipv4Addr::new(10, 77, 1, 10));
        assert_eq!(packet, Packet { source, destination, opens: Some(443) });
        assert_eq!(Packet::read(&segment(SYN | ACK)).unwrap().opens, None);
    }

    #[test]
    fn what_is_short_or_not_ipv4_is_no_packet_and_no_panic() {
        for length in 0..20 {
            assert_eq!(Packet::read(&segment(SYN)[..length]), None);
        }
        assert_eq!(Packet::read(&[0x60; 60]), None);
    }
}

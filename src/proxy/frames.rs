//! Where a stream of WebSocket frames stands: inside of a frame, or between two (RFC 6455 section 5.2).
//!
//! Frames pass as they are and are not judged. Only who wants to add one of its own must know where one may stand.
//! Every sequence of bytes can be read as frames, so nothing here can fail; a stream that is none of WebSocket is at
//! worst inside of a frame that never ends.

/// A stream of frames in one direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frames {
    next: Next,
    has_closed: bool,
}

/// What the next byte is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The first of a frame.
    #[default]
    Opcode,
    /// The one with the short length.
    Length,
    /// One of a long length.
    LongLength { left: u8, length: u64, masked: bool },
    /// One of the key that masks the payload.
    Mask { left: u8, length: u64 },
    /// One of the payload.
    Payload { left: u64 },
}

/// The opcode of a Close frame.
const CLOSE: u8 = 0x8;

impl Frames {
    /// Takes note of bytes that went by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            let (next, rest) = match self.next {
                Next::Opcode => {
                    self.has_closed |= first & 0x0f == CLOSE;
                    (Next::Length, rest)
                }
                Next::Length => {
                    let masked = first & 0x80 != 0;
                    let next = match first & 0x7f {
                        126 => Next::LongLength { left: 2, length: 0, masked },
                        127 => Next::LongLength { left: 8, length: 0, masked },
                        length => Next::after_length(length.into(), masked),
                    };
                    (next, rest)
                }
                Next::LongLength { left, length, masked } => {
                    let length = length << 8 | u64::from(*first);
                    let next = match left {
                        0 | 1 => Next::after_length(length, masked),
                        _ => Next::LongLength { left: left - 1, length, masked },
                    };
                    (next, rest)
                }
                Next::Mask { left: 0 | 1, length } => (Next::payload(length), rest),
                Next::Mask { left, length } => (Next::Mask { left: left - 1, length }, rest),
                Next::Payload { left } => {
                    let passing = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    (Next::payload(left - passing as u64), bytes.get(passing..).unwrap_or_default())
                }
            };
            (self.next, bytes) = (next, rest);
        }
    }

    /// Whether another frame may begin here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.next == Next::Opcode
    }

    /// Whether a Close frame has begun; no other frame may follow it.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }
}

impl Next {
    fn after_length(length: u64, masked: bool) -> Self {
        if masked { Self::Mask { left: 4, length } } else { Self::payload(length) }
    }

    fn payload(left: u64) -> Self {
        if left == 0 { Self::Opcode } else { Self::Payload { left } }
    }
}

/// Why an endpoint ends a WebSocket (RFC 6455 section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseCode {
    /// It goes away.
    GoingAway = 1001,
    /// It does not like the other side any more.
    PolicyViolation = 1008,
}

/// A Close frame as a server sends it.
pub(super) fn close(code: CloseCode) -> Vec<u8> {
    let [high, low] = (code as u16).to_be_bytes();
    vec![0x80 | CLOSE, 2, high, low]
}

/// A Close frame as a client sends it: masked.
pub(super) fn masked_close(code: CloseCode, key: [u8; 4]) -> Vec<u8> {
    let [high, low] = (code as u16).to_be_bytes();
    let [one, two, three, four] = key;
    vec![0x80 | CLOSE, 0x80 | 2, one, two, three, four, high ^ one, low ^ two]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![opcode];
        match payload.len() {
            length @ ..126 => frame.push(mask | u8::try_from(length).unwrap()),
            length @ ..65536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(payload);
        frame
    }

    fn passed(bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        frames.pass(bytes);
        frames
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let lengths = prop_oneof![0..4_usize, 120..130_usize, Just(65_535_usize), Just(65_536_usize)];
        let one = (any::<u8>(), any::<bool>(), lengths)
            .prop_map(|(opcode, masked, length)| frame(opcode, masked, &vec![opcode ^ 0x5a; length]));
        prop::collection::vec(one, 1..5)
    }

    proptest! {
        #[test]
        fn between_frames_is_where_a_frame_has_ended(frames in frames(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let stream = frames.concat();
            let ends: Vec<usize> = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let near = ends.iter().flat_map(|end| end.saturating_sub(8)..=(end + 15)).filter(|at| *at <= stream.len());
            for at in near.chain(cuts.iter().map(|cut| cut.index(stream.len()))) {
                prop_assert_eq!(passed(&stream[..at]).is_between_frames(), at == 0 || ends.contains(&at), "at {}", at);
            }
        }

        #[test]
        fn however_a_stream_is_cut_into_pieces_it_stands_at_the_same_place(
            stream in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut pieces = Frames::default();
            for pair in cuts.windows(2) {
                pieces.pass(&stream[pair[0]..pair[1]]);
            }
            prop_assert_eq!(pieces, passed(&stream));
        }
    }

    #[test]
    fn a_length_that_no_frame_may_have_never_ends() {
        let mut frames = passed(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        frames.pass(&[0x88; 1000]);
        assert!(!frames.is_between_frames() && !frames.has_closed());
    }

    #[test]
    fn close_frames_are_whole_and_seen() {
        assert_eq!(close(CloseCode::GoingAway), [0x88, 0x02, 0x03, 0xe9]);
        assert_eq!(close(CloseCode::PolicyViolation), [0x88, 0x02, 0x03, 0xf0]);
        let masked = masked_close(CloseCode::GoingAway, [9, 8, 7, 6]);
        assert_eq!(masked, [0x88, 0x82, 9, 8, 7, 6, 0x03 ^ 9, 0xe9 ^ 8]);
        for frame in [close(CloseCode::GoingAway), masked] {
            assert!(passed(&frame).is_between_frames() && passed(&frame).has_closed());
            assert!(!passed(&frame[..frame.len() - 1]).is_between_frames());
        }
        assert!(!passed(&frame(0x89, false, &[0x88, 0x02])).has_closed());
    }
}

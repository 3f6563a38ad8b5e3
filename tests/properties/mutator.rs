//! Inputs made from others by a few changes, the same ones in each run.

/// Makes inputs without end.
pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

/// Bytes that mean something somewhere: ends, quotes, separators, tags and lengths of DER.
const TELLING: &[u8] =
    b"\0\x01\x02\x03\x04\x05\x06\x0c\x13\x16\x17\x1e\x30\x31\x7f\x80\x81\x82\x84\xa0\xa3\xff\r\n \"#%&'+,-./;<=>\\[]{}";

impl<'a> Mutator<'a> {
    pub fn new(seeds: &'a [Vec<u8>]) -> Self {
        Self { seeds, state: 0x9e37_79b9_7f4a_7c15 }
    }

    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.seed().clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let length = self.below(9).min(input.len() - at);
        match self.below(6) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let telling = TELLING[self.below(TELLING.len())];
                match input.get_mut(at) {
                    Some(byte) => *byte = telling,
                    None => input.push(telling),
                }
            }
            2 => input.insert(at, TELLING[self.below(TELLING.len())]),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let copy = input[at..at + length].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            _ => {
                let other = self.seed().clone();
                let from = self.below(other.len() + 1);
                let end = (from + self.below(40)).min(other.len());
                input.splice(at..at + length, other[from..end].iter().copied());
            }
        }
    }

    fn seed(&mut self) -> &'a Vec<u8> {
        let which = self.below(self.seeds.len());
        &self.seeds[which]
    }

    /// Marsaglia's xorshift.
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 11).unwrap() % bound
    }
}

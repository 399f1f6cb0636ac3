//! What an application writes: numbered records with a checksum, one per line; and what of them is found later.

use std::{collections::BTreeMap, fmt};

/// A record. Numbers of one volume count up from 1, wherever it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is: namespace and claim.
    pub of: String,
    /// The cluster where it was written.
    pub site: String,
    /// Its number.
    pub number: u64,
    /// When it was written, in milliseconds since 1970.
    pub time: i64,
}

impl Record {
    /// The text before the checksum.
    fn words(&self) -> String {
        let Self {
            of,
            site,
            number,
            time,
        } = self;
        format!("{of} {site} {number} {time}")
    }

    /// The record in a line; none if it is damaged.
    pub fn parse(line: &str) -> Option<Self> {
        let (words, sum) = line.rsplit_once(' ')?;
        if sum != checksum(words) {
            return None;
        }
        let mut words = words.split(' ');
        Some(Self {
            of: words.next()?.to_owned(),
            site: words.next()?.to_owned(),
            number: words.next()?.parse().ok()?,
            time: words.next()?.parse().ok()?,
        })
    }
}

/// As a line of a file, without its end.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words();
        write!(f, "{words} {}", checksum(&words))
    }
}

/// FNV-1a, in hex: a torn or mixed-up line does not have it by chance.
pub(super) fn checksum(words: &str) -> String {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = words.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{sum:016x}")
}

/// What is in a file of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The good ones, by number.
    pub all: BTreeMap<u64, Record>,
    /// Numbers that are missing between 1 and the last one.
    pub gaps: Vec<u64>,
    /// Numbers that are there more than once.
    pub doubled: Vec<u64>,
    /// Lines that are no record. One at the very end that has no end is not counted: it was being written.
    pub damaged: Vec<String>,
}

impl Records {
    /// Reads a file. Bytes that are no text count as damage.
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut found = Self::default();
        for line in text.split_inclusive('\n') {
            let Some(line) = line.strip_suffix('\n') else {
                continue;
            };
            let Some(record) = Record::parse(line) else {
                found.damaged.push(line.to_owned());
                continue;
            };
            let number = record.number;
            if found.all.insert(number, record).is_some() {
                found.doubled.push(number);
            }
        }
        let last = found.last();
        let missing = (1..=last).filter(|n| !found.all.contains_key(n));
        found.gaps = missing.collect();
        found
    }

    /// The number of the last one; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.all.keys().next_back().copied().unwrap_or(0)
    }

    /// The last one that was written on a cluster.
    pub fn last_of(&self, site: &str) -> Option<&Record> {
        self.all.values().rev().find(|r| r.site == site)
    }

    /// Which of these are not here, word for word.
    pub fn lacks(&self, acknowledged: &Self) -> Vec<Record> {
        let missing = |r: &&Record| self.all.get(&r.number) != Some(*r);
        acknowledged.all.values().filter(missing).cloned().collect()
    }

    /// Whether nothing is missing in between, there twice, or damaged.
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty() && self.doubled.is_empty() && self.damaged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(site: &str, number: u64) -> Record {
        Record {
            of: "shop/data".to_owned(),
            site: site.to_owned(),
            number,
            time: 1_000 + i64::try_from(number).unwrap(),
        }
    }

    fn file(all: &[Record]) -> String {
        let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
        lines.join("\n") + "\n"
    }

    #[test]
    fn what_is_missing_doubled_or_damaged_is_told() {
        let written = [record("dr1", 1), record("dr1", 2), record("dr1", 4)];
        let text = file(&written) + &file(&written[1..2]) + "nonsense\nshop/da";
        let found = Records::read(text.as_bytes());
        assert_eq!(found.gaps, [3]);
        assert_eq!(found.doubled, [2]);
        assert_eq!(found.damaged, ["nonsense"]);
        assert!(!found.is_whole());
        assert_eq!(found.last(), 4);
    }

    #[test]
    fn a_digit_that_changed_is_damage() {
        let line = record("dr1", 7).to_string();
        assert_eq!(Record::parse(&line), Some(record("dr1", 7)));
        assert_eq!(Record::parse(&line.replacen('7', "8", 1)), None);
    }

    #[test]
    fn another_record_of_the_same_number_is_not_the_one_that_was_acknowledged() {
        let told = Records::read(file(&[record("dr1", 1), record("dr1", 2)]).as_bytes());
        let here = Records::read(file(&[record("dr1", 1), record("dr2", 2)]).as_bytes());
        assert!(here.is_whole());
        assert_eq!(here.lacks(&told), [record("dr1", 2)]);
        assert_eq!(here.last_of("dr1").map(|r| r.number), Some(1));
    }
}

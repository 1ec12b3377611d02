//! The ratchet: how many places each area may still have. The numbers only fall.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};

use super::{Place, Places, RATCHET};

/// How many places of an area a failure shows.
const SHOWN: usize = 5;

const HEAD: &str = "\
# Places that are still to be rewritten: long lines and phrases that this project does not use, by area.
# An area with 0 is clean and stays so. All others together may have at most the sum of their numbers,
# so that code can move between them. `cargo xtask prose PATH` shows the places, `cargo xtask prose
# --lower` writes lower numbers after a rewrite. The numbers never rise.
";

/// The number of each area.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ratchet(BTreeMap<String, usize>);

impl Ratchet {
    /// Reads lines `NUMBER AREA`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut numbers = BTreeMap::new();
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("{RATCHET}:{number}: expected NUMBER AREA");
            let (most, area) = line.trim().split_once(' ').with_context(wrong)?;
            numbers.insert(area.trim().to_owned(), most.parse().with_context(wrong)?);
        }
        Ok(Self(numbers))
    }

    /// The same with each number as low as what is there. Areas that are new get 0 when they are
    /// clean.
    pub(super) fn lowered(self, places: &Places) -> Self {
        let pooled = self.pool(places);
        let there = |area: &String| places.get(area).map_or(0, Vec::len);
        let mut lowered: BTreeMap<_, _> = self
            .0
            .iter()
            .map(|(area, most)| (area.clone(), there(area).min(*most)))
            .filter(|(area, _)| places.contains_key(area))
            .collect();
        for area in places.keys() {
            lowered.entry(area.clone()).or_insert_with(|| there(area));
        }
        // Text that has moved to another area takes its number along, as long as the sum does not
        // rise.
        if pooled.there <= pooled.most {
            for (area, most) in &mut lowered {
                if self.0.get(area) != Some(&0) {
                    *most = there(area);
                }
            }
        }
        Self(lowered)
    }

    /// What breaks it: the place, the rule and how to fix it.
    pub(super) fn check(&self, places: &Places) -> Vec<(String, String, String)> {
        let mut broken = Vec::new();
        for (area, there) in places {
            if self.0.get(area) == Some(&0) && !there.is_empty() {
                broken.push((
                    area.clone(),
                    "this area is clean: no long line, and no phrase that this project does not use"
                        .to_owned(),
                    shown(there, "rewrite what is listed here"),
                ));
            }
        }
        let pool = self.pool(places);
        if pool.there > pool.most {
            for (area, there) in places {
                let most = self.0.get(area).copied();
                if most != Some(0) && there.len() > most.unwrap_or(0) {
                    broken.push((
                        area.clone(),
                        format!(
                            "the areas that are still to be rewritten have at most {} places; they have {}",
                            pool.most, pool.there
                        ),
                        shown(
                            there,
                            &format!(
                                "this area had {}: rewrite what was added (`cargo xtask prose {area}` shows all)",
                                most.unwrap_or(0)
                            ),
                        ),
                    ));
                }
            }
        }
        broken
    }

    /// The areas that are not clean yet: how many places they may have, and how many they have.
    fn pool(&self, places: &Places) -> Pool {
        let there = places
            .iter()
            .filter(|(area, _)| self.0.get(*area) != Some(&0))
            .map(|(_, there)| there.len());
        Pool {
            most: self.0.values().sum(),
            there: there.sum(),
        }
    }
}

struct Pool {
    most: usize,
    there: usize,
}

impl fmt::Display for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for (area, most) in &self.0 {
            writeln!(f, "{most} {area}")?;
        }
        Ok(())
    }
}

/// How to fix it, and the first places.
fn shown(places: &[Place], mend: &str) -> String {
    let mut text = mend.to_owned();
    for place in places.iter().take(SHOWN) {
        text.push_str(&format!("\n      {}: {}", place.place, place.why));
    }
    if let Some(more) = places.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("\n      and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(areas: &[(&str, usize)]) -> Places {
        let place = |area: &str, number| Place {
            place: format!("{area}:{number}"),
            why: "long".to_owned(),
        };
        let areas = areas.iter().map(|(area, count)| {
            let there = (0..*count).map(|number| place(area, number)).collect();
            ((*area).to_owned(), there)
        });
        areas.collect()
    }

    fn ratchet(text: &str) -> Ratchet {
        Ratchet::read(text).expect("numbers")
    }

    #[test]
    fn a_clean_area_stays_clean() {
        let ratchet = ratchet("# why\n0 docs\n5 crates/a\n");
        assert_eq!(ratchet.check(&places(&[("docs", 0), ("crates/a", 5)])), []);
        let broken = ratchet.check(&places(&[("docs", 7), ("crates/a", 0)]));
        assert_eq!(broken.len(), 1);
        assert!(broken[0].2.contains("docs:0: long") && broken[0].2.contains("and 2 more"));
    }

    #[test]
    fn text_may_move_between_areas_that_are_not_clean_and_to_new_ones() {
        let ratchet = ratchet("3 crates/a\n5 crates/b\n");
        let moved = places(&[("crates/a", 1), ("crates/b", 5), ("crates/new", 2)]);
        assert_eq!(ratchet.check(&moved), []);
        let more = places(&[("crates/a", 4), ("crates/b", 5)]);
        let broken = ratchet.check(&more);
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].0, "crates/a");
    }

    #[test]
    fn lowering_never_raises_the_sum() {
        let before = || ratchet("3 crates/a\n5 crates/b\n0 docs\n2 gone\n");
        let moved = places(&[
            ("crates/a", 1),
            ("crates/b", 4),
            ("crates/new", 3),
            ("docs", 0),
        ]);
        let wanted = ratchet("1 crates/a\n4 crates/b\n3 crates/new\n0 docs\n");
        assert_eq!(before().lowered(&moved), wanted);
        let worse = places(&[("crates/a", 30), ("crates/b", 1), ("docs", 4)]);
        let wanted = ratchet("3 crates/a\n1 crates/b\n0 docs\n");
        assert_eq!(before().lowered(&worse), wanted);
    }

    #[test]
    fn what_is_written_is_read_back_and_a_line_that_is_invalid_is_named() {
        let numbers = ratchet("3 crates/a\n0 docs\n");
        assert_eq!(ratchet(&numbers.to_string()), numbers);
        let error = Ratchet::read("# a\nx docs\n").expect_err("no number");
        assert!(format!("{error:#}").contains("xtask/prose.txt:2"));
    }
}

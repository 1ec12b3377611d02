//! A random sample of what people read: paragraphs of comments, messages, and sentences of
//! documents.

use super::read::{self, Kind, Piece};

/// One text in its place.
struct Text {
    place: String,
    words: &'static str,
    text: String,
}

/// This many texts of the files, a third of each kind, in a random order that the seed decides.
pub(super) fn draw(files: &[(String, String)], size: usize, seed: u64) -> Vec<String> {
    let mut kinds = [Vec::new(), Vec::new(), Vec::new()];
    for (path, text) in files {
        let pieces = read::pieces(path, text);
        kinds[0].extend(paragraphs(path, &pieces, Kind::Comment));
        kinds[1].extend(messages(path, &pieces));
        kinds[2].extend(paragraphs(path, &pieces, Kind::Document).flat_map(sentences));
    }
    let mut random = Random(seed);
    let mut drawn = Vec::with_capacity(size);
    for (index, mut texts) in kinds.into_iter().enumerate() {
        let share = (size + 2 - index) / 3;
        for _ in 0..share.min(texts.len()) {
            let at = random.below(texts.len());
            drawn.push(texts.swap_remove(at));
        }
    }
    let drawn = drawn.into_iter().zip(1..);
    drawn
        .map(|(text, number)| {
            format!(
                "{number:>3}. {} ({})\n     {}",
                text.place, text.words, text.text
            )
        })
        .collect()
}

/// Lines of one kind that follow each other, up to an empty one, as one text.
fn paragraphs<'a>(
    path: &'a str,
    pieces: &'a [Piece],
    kind: Kind,
) -> impl Iterator<Item = Text> + 'a {
    let mut texts: Vec<Text> = Vec::new();
    let mut last = 0;
    let mut in_code = false;
    for piece in pieces.iter().filter(|piece| piece.kind == kind) {
        let text = piece.text.trim();
        if text.starts_with("```") {
            in_code = !in_code;
            last = 0;
            continue;
        }
        if in_code || text.is_empty() || text.starts_with(['|', '#', '[']) {
            last = 0;
            continue;
        }
        let begins = text.starts_with("- ") || last + 1 != piece.line;
        match texts.last_mut().filter(|_| !begins) {
            Some(paragraph) => {
                paragraph.text.push(' ');
                paragraph.text.push_str(text);
            }
            None => texts.push(Text {
                place: format!("{path}:{}", piece.line),
                words: if kind == Kind::Comment {
                    "comment"
                } else {
                    "document"
                },
                text: text.to_owned(),
            }),
        }
        last = piece.line;
    }
    texts.retain(|text| is_text(&text.text));
    texts.into_iter()
}

/// String literals outside tests that are sentences rather than names, formats or data.
fn messages<'a>(path: &'a str, pieces: &'a [Piece]) -> impl Iterator<Item = Text> + 'a {
    let literals = pieces
        .iter()
        .filter(|piece| piece.kind == Kind::Message && !piece.test && is_text(&piece.text));
    literals.map(move |piece| Text {
        place: format!("{path}:{}", piece.line),
        words: "message",
        text: piece.text.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

/// The sentences of a paragraph.
fn sentences(paragraph: Text) -> Vec<Text> {
    let mut found = Vec::new();
    let mut rest = paragraph.text.as_str();
    while !rest.is_empty() {
        let end = rest
            .match_indices(['.', ':', '?'])
            .map(|(at, _)| at + 1)
            .find(|end| {
                let after = rest.get(*end..).unwrap_or_default();
                after.starts_with(' ') && after.trim_start().starts_with(char::is_uppercase)
            })
            .unwrap_or(rest.len());
        let (sentence, after) = rest.split_at(end);
        found.push(Text {
            place: paragraph.place.clone(),
            words: paragraph.words,
            text: sentence.trim().to_owned(),
        });
        rest = after.trim_start();
    }
    found.retain(|text| is_text(&text.text));
    found
}

/// Whether this is a sentence: four words of letters at least.
fn is_text(text: &str) -> bool {
    let words = text.split_whitespace().filter(|word| {
        word.len() > 1
            && word
                .chars()
                .all(|c| c.is_alphabetic() || "’'.,;:()".contains(c))
    });
    words.count() >= 4 && !text.contains("SELECT ") && !text.contains(" INTO ")
}

/// SplitMix64: the same numbers on each machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound).unwrap_or(u64::MAX)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<(String, String)> {
        let source = "//! The first comment of this file goes\n//! on in a second line.\n\n// The second comment says \
                      something else.\nfn a() { b(\"the message says what is wrong\"); c(\"x\"); }\n\
                      #[cfg(test)]\nmod tests { fn d() { e(\"this text is in a test alone\"); } }\n";
        let document = "# Title of the page here\n\nOne sentence stands here alone. Another one follows it at once.\n";
        vec![
            ("a.rs".to_owned(), source.to_owned()),
            ("b.md".to_owned(), document.to_owned()),
        ]
    }

    #[test]
    fn a_sample_has_each_kind_with_its_place() {
        let drawn = draw(&files(), 50, 7).join("\n");
        for wanted in [
            "a.rs:1 (comment)\n     The first comment of this file goes on in a second line.",
            "a.rs:4 (comment)\n     The second comment",
            "a.rs:5 (message)\n     the message says what is wrong",
            "b.md:3 (document)\n     One sentence stands here alone.",
            "b.md:3 (document)\n     Another one follows it at once.",
        ] {
            assert!(drawn.contains(wanted), "{wanted}\n{drawn}");
        }
        assert!(
            !drawn.contains("test alone") && !drawn.contains("Title"),
            "{drawn}"
        );
    }

    #[test]
    fn the_seed_decides_the_sample() {
        let files: Vec<_> = (0..200)
            .map(|n| {
                (
                    format!("{n}.md"),
                    format!("This is the sentence number {n} of them.\n"),
                )
            })
            .collect();
        assert_eq!(draw(&files, 20, 3), draw(&files, 20, 3));
        assert_ne!(draw(&files, 20, 3), draw(&files, 20, 4));
    }
}

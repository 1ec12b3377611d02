//! Words and phrases that this project does not use, each with what to write instead.
//!
//! Listed is only what is wrong in every sentence, so that the check has no false alarms. The
//! glossary in `CONTRIBUTING.md` has the rest.

/// A phrase, in lower case, and what to write instead. Each is spliced, so that the check does not
/// find this file.
const PHRASES: &[(&str, &str)] = &[
    (concat!("is n", "one"), "“is invalid” or “is not a …”"),
    (concat!("are n", "one"), "“are invalid” or “are not …”"),
    (concat!("was n", "one"), "“was invalid” or “was not a …”"),
    (concat!("were n", "one"), "“were invalid” or “were not …”"),
    (concat!("so no ", "more"), "“no longer”"),
    (concat!("an", "ew"), "“again” or “from scratch”"),
    (concat!("is ", "told"), REPORT),
    (concat!("are ", "told"), REPORT),
    (concat!("be ", "told"), REPORT),
    (concat!("been ", "told"), REPORT),
    (concat!("was ", "told"), REPORT),
    (concat!("were ", "told"), REPORT),
    (concat!("told ", "of"), REPORT),
    (concat!("looked ", "whether"), CHECK),
    (concat!("looked ", "at"), CHECK),
    (concat!("looked ", "after"), CHECK),
    (concat!("looks ", "after"), CHECK),
    (concat!("look ", "after"), CHECK),
    (concat!("looks ", "whether"), CHECK),
    (concat!("look ", "whether"), CHECK),
    (concat!("for so ", "long"), "“for this long”"),
    (concat!("so m", "any"), "“this many”, or the number's name"),
    (
        concat!("who", "ever"),
        "“anyone who”, or the noun that is meant",
    ),
    (
        concat!("be", "side"),
        "“next to”, “together with” or “also”",
    ),
    (concat!("rou", "se"), "“wake”"),
    (concat!("rou", "ses"), "“wakes”"),
    (concat!("for", "saken"), "“abandoned” or “orphaned”"),
    (concat!("ob", "eys"), "“handles”"),
    (concat!("ob", "eyed"), "“handled”"),
    (concat!("what ", "waits"), "“pending”, or the queue's name"),
    (concat!("come to its ", "end"), "“end” or “finish”"),
    (concat!("comes to its ", "end"), "“ends” or “finishes”"),
    (concat!("came to its ", "end"), "“ended” or “finished”"),
    (concat!("subscri", "ber"), "“viewer”"),
    (concat!("subscri", "bers"), "“viewers”"),
];

const REPORT: &str = "“reports”, “logs” or “notifies”, in the active voice";
const CHECK: &str = "“check”, “read” or “maintain”, in the active voice";

/// Words before or after a phrase that make it right: “there is none”, “so many that”.
const BEFORE: &[(&str, &str)] = &[
    (concat!("n", "one"), "there "),
    (concat!("subscri", "ber"), "tracing "),
];
const AFTER: &[(&str, &str)] = &[
    (concat!("so m", "any"), " that"),
    (concat!("so no ", "more"), " than"),
];

/// Each phrase in the text that this project does not use, with what to write instead.
pub(crate) fn found(text: &str) -> Vec<(&'static str, &'static str)> {
    let text = without_code(text).to_lowercase();
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        for (at, _) in text.match_indices(phrase) {
            let before = text.get(..at).unwrap_or_default();
            let after = text.get(at + phrase.len()..).unwrap_or_default();
            if !touches(before.chars().next_back())
                && !touches(after.chars().next())
                && !is_right(phrase, before, after)
            {
                found.push((*phrase, *instead));
            }
        }
    }
    found
}

/// Whether the character continues a word or a name, as in `max_x` and `x-y`.
fn touches(next: Option<char>) -> bool {
    next.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

fn is_right(phrase: &str, before: &str, after: &str) -> bool {
    BEFORE
        .iter()
        .any(|(of, word)| phrase.contains(of) && before.ends_with(word))
        || AFTER
            .iter()
            .any(|(of, word)| phrase.contains(of) && after.starts_with(word))
}

/// The text without what stands between backticks.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_is_found_as_a_word_and_not_within_one() {
        for (phrase, _) in PHRASES {
            let hits = found(&format!("Text {phrase}, text.")).len();
            assert!(hits >= 1, "{phrase}");
            assert_eq!(found(&format!("Text x{phrase}x text.")), [], "{phrase}");
            assert_eq!(found(&format!("Text `{phrase}` text.")), [], "{phrase}");
        }
    }

    #[test]
    fn what_is_good_english_is_not_found() {
        for good in [
            "If there is none, it ends.",
            "There were so many that none was counted.",
            "The crate tracing-subscriber and the tracing subscriber.",
            "`subscriber_evicted` is a label.",
            "At most 10, so no more than 10 are kept.",
            "She renewed it.",
        ] {
            assert_eq!(found(good), [], "{good}");
        }
    }
}

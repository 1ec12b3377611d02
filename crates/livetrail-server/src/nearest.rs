//! Finds the name that was probably meant.

/// The known name that is nearest to `text`, if any is near. One letter in three may differ.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| text.chars().count().max(name.chars().count()) / 3;
    let distances = known
        .into_iter()
        .map(|name| (distance(text, name), name))
        .filter(|(distance, name)| *distance <= near(name));
    distances
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b;
            if swapped {
                let before: &Vec<usize> = &before_last;
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_understood_and_another_word_is_not() {
        let known = ["play_denied", "play_started", "publish_denied", "heartbeat"];
        assert_eq!(nearest("play_deneid", known), Some("play_denied"));
        assert_eq!(nearest("playdenied", known), Some("play_denied"));
        assert_eq!(nearest("heartbeats", known), Some("heartbeat"));
        assert_eq!(nearest("foo", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!((distance("", "abc"), distance("abc", "")), (3, 3));
        assert_eq!((distance("abc", "abc"), distance("acb", "abc")), (0, 1));
    }
}

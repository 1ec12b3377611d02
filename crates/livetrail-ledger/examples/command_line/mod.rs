//! The command lines of these examples: `--help`, and exit code 2 with the usage for unknown
//! arguments.

/// The arguments, at most `most` words, none of which is an option. For `-h` and `--help` prints
/// the usage and ends the process.
pub(crate) fn given(usage: &str, most: usize) -> impl Iterator<Item = String> {
    let given: Vec<_> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if given.iter().any(|word| word == "-h" || word == "--help") {
        println!("{usage}");
        std::process::exit(0);
    }
    let unknown = given.iter().find(|word| word.starts_with('-'));
    if let Some(word) = unknown.or(given.get(most)) {
        refuse(usage, &format!("there is no `{word}`"));
    }
    given.into_iter()
}

/// This word as a number; `of` is its purpose.
pub(crate) fn number(usage: &str, of: &str, word: &str) -> u64 {
    let number = word.parse();
    number.unwrap_or_else(|_| refuse(usage, &format!("{of} is a number, not `{word}`")))
}

/// Prints the problem and the usage, and ends the process.
pub(crate) fn refuse(usage: &str, problem: &str) -> ! {
    eprintln!("error: {problem}\n\n{usage}");
    std::process::exit(2);
}

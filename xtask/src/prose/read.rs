//! The text in a file: comments and messages of sources, paragraphs of documents, each with its
//! place.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A comment in a source or a configuration file.
    Comment,
    /// A string literal of a source.
    Message,
    /// A line of a document, outside its code blocks.
    Document,
}

/// A line of a comment, a string literal, or a line of a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Whether it is in a test: a file of tests, or behind `#[cfg(test)]`.
    pub(crate) test: bool,
}

/// The text in the file `path`; empty for files that have none that people read.
pub(crate) fn pieces(path: &str, text: &str) -> Vec<Piece> {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("rs") => source(path, text),
        Some("md") => document(text),
        Some("toml") => lines_after("# ", text),
        Some("sql") => lines_after("-- ", text),
        _ => Vec::new(),
    }
}

/// The lines of a document without its code blocks.
fn document(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut in_block = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            pieces.push(Piece {
                line: number,
                kind: Kind::Document,
                text: line.to_owned(),
                test: false,
            });
        }
    }
    pieces
}

/// The comments of a file in which each comment is a line that begins with `mark`.
fn lines_after(mark: &str, text: &str) -> Vec<Piece> {
    let comments = text.lines().zip(1..).filter_map(|(line, number)| {
        Some(Piece {
            line: number,
            kind: Kind::Comment,
            text: line.trim_start().strip_prefix(mark)?.to_owned(),
            test: false,
        })
    });
    comments.collect()
}

/// The comments and string literals of a Rust source.
fn source(path: &str, text: &str) -> Vec<Piece> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        test: path.contains("/tests/") || path.ends_with("tests.rs"),
        pieces: Vec::new(),
    };
    while reader.step() {}
    reader.pieces
}

/// Reads a source from its beginning to its end.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    test: bool,
    pieces: Vec<Piece>,
}

impl<'a> Reader<'a> {
    /// Takes the next comment, literal or character; `false` at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            let line = self.line;
            let comment = self.take(end);
            let text = comment.trim_start_matches(['/', '!']);
            self.push(line, Kind::Comment, text.trim_start());
        } else if self.rest.starts_with("/*") {
            let end = self.rest.find("*/").map_or(self.rest.len(), |end| end + 2);
            self.take(end);
        } else if self.rest.starts_with("#[cfg(test)]") {
            self.test = true;
            self.take(1);
        } else if let Some(hashes) = raw_string(self.rest) {
            self.raw_string(hashes);
        } else if first == '"' {
            self.string();
        } else if first == '\'' {
            let end = character(self.rest);
            self.take(end);
        } else if first.is_alphanumeric() || first == '_' {
            // As a whole, so that the `r` at the end of a name begins no raw string.
            let end = self
                .rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(self.rest.len());
            self.take(end);
        } else {
            self.take(first.len_utf8());
        }
        true
    }

    fn string(&mut self) {
        let line = self.line;
        self.take(1);
        let mut text = String::new();
        loop {
            let end = self.rest.find(['"', '\\']).unwrap_or(self.rest.len());
            text.push_str(self.take(end));
            if !self.rest.starts_with('\\') {
                break;
            }
            self.take(1);
            match self.rest.chars().next() {
                Some('\n') => {
                    let next = self.rest.trim_start();
                    let blank = self.rest.len() - next.len();
                    self.take(blank);
                }
                Some(escaped) => {
                    self.take(escaped.len_utf8());
                    text.push(if escaped == 'n' { '\n' } else { escaped });
                }
                None => break,
            }
        }
        let closing = self.rest.len().min(1);
        self.take(closing);
        self.push(line, Kind::Message, &text);
    }

    fn raw_string(&mut self, hashes: usize) {
        let line = self.line;
        let opening = self.rest.find('"').map_or(self.rest.len(), |at| at + 1);
        self.take(opening);
        let closing = format!("\"{}", "#".repeat(hashes));
        let end = self.rest.find(&closing).unwrap_or(self.rest.len());
        let text = self.take(end);
        let closing = closing.len().min(self.rest.len());
        self.take(closing);
        self.push(line, Kind::Message, text);
    }

    fn push(&mut self, line: usize, kind: Kind, text: &str) {
        self.pieces.push(Piece {
            line,
            kind,
            text: text.to_owned(),
            test: self.test,
        });
    }

    /// Takes this many bytes and counts the lines in them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }
}

/// How many `#` the raw string has that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest
        .strip_prefix("br")
        .or_else(|| rest.strip_prefix('r'))
        .or_else(|| rest.strip_prefix("cr"))?;
    let without = after.trim_start_matches('#');
    without
        .starts_with('"')
        .then(|| after.len() - without.len())
}

/// The bytes of the character literal, or of the apostrophe of a lifetime, that begins here.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            let escape = characters.next().map_or(1, |(at, c)| at + c.len_utf8());
            rest.get(escape..)
                .and_then(|after| after.find('\''))
                .map_or(1, |end| escape + end + 1)
        }
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> Vec<(usize, Kind, String)> {
        let pieces = pieces(path, text).into_iter();
        pieces.map(|p| (p.line, p.kind, p.text)).collect()
    }

    #[test]
    fn a_source_has_comments_and_messages_with_their_lines() {
        let text = "//! First.\n\nfn f<'a>(c: &'a str) {\n    // Why: \"no string\".\n    \
                    g('\"', '\\'', b'\\\\', r#\"raw \"x\" // text\"#);\n    h(\"a \\\"b\\\" \\\n      c\"); // behind\n}\n";
        let wanted = [
            (1, Kind::Comment, "First."),
            (4, Kind::Comment, "Why: \"no string\"."),
            (5, Kind::Message, "raw \"x\" // text"),
            (6, Kind::Message, "a \"b\" c"),
            (7, Kind::Comment, "behind"),
        ];
        let wanted = wanted.map(|(line, kind, text)| (line, kind, text.to_owned()));
        assert_eq!(read("a.rs", text), wanted);
    }

    #[test]
    fn code_blocks_of_documents_are_not_checked() {
        let text = "# Title\n\n```console\n$ command\n```\nText.\n";
        let lines: Vec<_> = read("a.md", text).into_iter().map(|(l, ..)| l).collect();
        assert_eq!(lines, [1, 2, 6]);
    }

    #[test]
    fn a_setting_that_is_commented_out_is_no_comment() {
        let text = "# Why.\n#key = \"value\"\n";
        assert_eq!(
            read("a.toml", text),
            [(1, Kind::Comment, "Why.".to_owned())]
        );
        assert_eq!(read("a.json", text), []);
    }

    #[test]
    fn the_rest_of_a_file_behind_its_tests_is_a_test() {
        let text = "f(\"one\");\n#[cfg(test)]\nmod tests { g(\"two\"); }\n";
        let tests: Vec<_> = pieces("a.rs", text).iter().map(|p| p.test).collect();
        assert_eq!(tests, [false, true]);
        assert!(pieces("a/tests/b.rs", text)[0].test);
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        for text in [
            "\"",
            "r#\"",
            "'",
            "'\\",
            "/*",
            "\"\\",
            "b'",
            "//",
            "#[cfg(test)]",
            "'é'é\"",
        ] {
            let _ = pieces("a.rs", text);
        }
    }
}

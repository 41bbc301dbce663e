//! What a `.dockerignore` keeps out of a build's context, by the rules of `docker build`. Pure.
//!
//! Patterns are Go's `filepath.Match` with `**` for any number of folders; a line that starts with
//! `!` lets back in what a line before it kept out; the last line that matches decides. A pattern
//! that matches a folder matches all that is in it.

/// The largest `.dockerignore` that is read, in bytes.
pub(crate) const DOCKERIGNORE_BYTES_MAX: usize = 256 * 1024;

/// The lines of a `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    lets_in: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    AnyChar,
    /// `*`
    InPart,
    /// `**/`
    Folders,
    /// `**` at the end
    Anything,
    /// `[a-z]`, `[^a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A line that is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(".dockerignore line {line}: {text:?} is not a valid pattern: {why}")]
pub(crate) struct BadPattern {
    line: usize,
    text: String,
    why: &'static str,
}

impl Ignore {
    /// Reads the lines of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (index, raw) in text.lines().enumerate() {
            // Only a # in the first column makes a comment.
            if raw.starts_with('#') {
                continue;
            }
            let line = raw.trim();
            let (lets_in, rest) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let bad = |why| BadPattern {
                line: index + 1,
                text: line.to_owned(),
                why,
            };
            if lets_in && rest.is_empty() {
                return Err(bad("a path has to follow the !"));
            }
            let path = clean(rest);
            if path.is_empty() {
                continue;
            }
            patterns.push(Pattern {
                lets_in,
                tokens: tokens(&path).map_err(bad)?,
            });
        }
        Ok(Self { patterns })
    }

    /// True when this path, relative to the context and with `/` between its parts, stays out.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut out = false;
        for pattern in &self.patterns {
            if pattern.lets_in == out && pattern.matches_or_parent(path) {
                out = !pattern.lets_in;
            }
        }
        out
    }

    /// True when something in an excluded folder may still be let in, so that it has to be walked.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.lets_in)
    }
}

impl Pattern {
    fn matches_or_parent(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.matches(path) || parents.into_iter().any(|parent| self.matches(parent))
    }

    /// Simulates the pattern as an automaton: the states are the tokens that may come next. Linear
    /// in text times pattern, whatever the pattern.
    fn matches(&self, text: &str) -> bool {
        let mut states = vec![false; self.tokens.len() + 1];
        self.enter(&mut states, 0);
        for c in text.chars() {
            let mut next = vec![false; states.len()];
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
                let done = match token {
                    Token::Char(wanted) => c == *wanted,
                    Token::AnyChar => c != '/',
                    Token::Class { negated, ranges } => {
                        let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        within != *negated && c != '/'
                    }
                    Token::InPart | Token::Anything => {
                        if c != '/' || *token == Token::Anything {
                            self.enter(&mut next, at);
                        }
                        false
                    }
                    Token::Folders => {
                        // Once begun, it has to end with a slash: so not `enter`.
                        next[at] = true;
                        c == '/'
                    }
                };
                if done {
                    self.enter(&mut next, at + 1);
                }
            }
            states = next;
        }
        states.last().copied().unwrap_or(false)
    }

    /// Adds a state, and those after it while tokens may match nothing.
    fn enter(&self, states: &mut [bool], from: usize) {
        for (at, state) in states.iter_mut().enumerate().skip(from) {
            *state = true;
            let empty = matches!(
                self.tokens.get(at),
                Some(Token::InPart | Token::Anything | Token::Folders)
            );
            if !empty {
                return;
            }
        }
    }
}

/// The path without empty parts, `.` and `..`, and without slashes at its ends.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn tokens(path: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.peek() == Some(&'*') => {
                while chars.next_if_eq(&'*').is_some() {}
                match chars.next_if_eq(&'/') {
                    Some(_) => Token::Folders,
                    None => Token::Anything,
                }
            }
            '*' => Token::InPart,
            '?' => Token::AnyChar,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next().ok_or("nothing follows the last backslash")?),
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "a [ is never closed";
    let negated = chars.next_if(|c| matches!(c, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next().ok_or(OPEN)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            ']' => return Err("[] holds no character"),
            '\\' => chars.next().ok_or(OPEN)?,
            c => c,
        };
        let high = if chars.next_if_eq(&'-').is_some() {
            chars.next().ok_or(OPEN)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, out: &[&str], stays: &[&str]) {
        let ignore = Ignore::parse(text).unwrap();
        for path in out {
            assert!(ignore.excludes(path), "{text:?} should keep out {path:?}");
        }
        for path in stays {
            assert!(
                !ignore.excludes(path),
                "{text:?} should not keep out {path:?}"
            );
        }
    }

    #[test]
    fn patterns_of_docker_build() {
        check(
            "node_modules",
            &["node_modules", "node_modules/a/b"],
            &["a/node_modules", "node"],
        );
        check(
            "**/node_modules",
            &["node_modules", "a/node_modules", "a/b/node_modules/c"],
            &["xnode_modules"],
        );
        check("*.md", &["README.md"], &["docs/README.md"]);
        check(
            "**/*.md",
            &["README.md", "docs/a/README.md"],
            &["README.mdx"],
        );
        check(
            "*/temp*",
            &["a/temp", "a/temporary/x"],
            &["temp", "a/b/temp"],
        );
        check("temp?", &["tempa", "tempb/c"], &["temp", "tempab"]);
        check("/foo/bar/", &["foo/bar", "foo/bar/x"], &["foo"]);
        check("./a/../b", &["b"], &["a"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "b"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
        check("**", &["a", "a/b"], &[]);
        check("[a-c]x\n[^a-c]y", &["ax", "dy"], &["dx", "ay"]);
        check("a\\*", &["a*"], &["ab"]);
        check("# c\n\n  b  \n", &["b"], &["# c", "c"]);
        check(" # not a comment", &["# not a comment"], &[]);
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        check("*\n!src", &["a", "b/c"], &["src", "src/main.rs"]);
        check(
            "*.md\n!README*.md\nREADME-secret.md",
            &["x.md", "README-secret.md"],
            &["README.md"],
        );
        check("!README.md\n*.md", &["README.md"], &[]);
        check("a\n!a/b", &["a/c"], &["a/b", "a/b/d"]);
        assert!(Ignore::parse("*\n!src").unwrap().has_exceptions());
        assert!(!Ignore::parse("*").unwrap().has_exceptions());
    }

    #[test]
    fn bad_patterns_are_named() {
        for (text, want) in [
            ("ok\n[a", "line 2: \"[a\""),
            ("[]a", "holds no character"),
            ("a\\", "last backslash"),
            ("!", "has to follow the !"),
        ] {
            let error = Ignore::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_matched(text in "[a-c/*?!\\[\\]^\\\\. \n-]{0,40}", path in "[a-c/.]{0,20}") {
            if let Ok(ignore) = Ignore::parse(&text) {
                let _excluded = ignore.excludes(&path);
            }
        }

        #[test]
        fn a_plain_path_excludes_itself_and_what_is_in_it(path in "[a-z]{1,5}(/[a-z]{1,5}){0,3}") {
            let ignore = Ignore::parse(&path).unwrap();
            let inside = format!("{}/x", path);
            let sibling = format!("{}x", path);
            prop_assert!(ignore.excludes(&path));
            prop_assert!(ignore.excludes(&inside));
            prop_assert!(!ignore.excludes(&sibling));
        }
    }
}

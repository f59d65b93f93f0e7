//! Interface name patterns.

/// A pattern where `*` stands for any text and `?` for one character (BIRD's `~` on names, which Calico exposes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Glob(String);

impl Glob {
    /// Takes the pattern as it is; every text is a pattern.
    pub fn new(pattern: impl Into<String>) -> Glob {
        Glob(pattern.into())
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole name fits.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on when a mismatch makes the last `*` swallow one character more.
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            let literal = match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p, n));
                    p += 1;
                    continue;
                }
                Some(b'?') => Some((1, None)),
                Some(b'\\') if p + 1 < pattern.len() => Some((2, Some(pattern[p + 1]))),
                Some(&c) => Some((1, Some(c))),
                None => None,
            };
            match literal {
                Some((width, wanted)) if wanted.is_none_or(|c| c == name[n]) => {
                    p += width;
                    n += 1;
                }
                _ => match retry {
                    Some((star, from)) => {
                        retry = Some((star, from + 1));
                        p = star + 1;
                        n = from + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn stars_question_marks_and_escapes() {
        for (pattern, name, fits) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("cali*", "cali123", true),
            ("*.cali", "vxlan.cali", true),
            ("*.cali", "vxlan.calico", false),
            ("br-*", "br-", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xbxxa", false),
            ("e?h0", "eth0", true),
            ("e?h0", "eh0", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), fits, "{pattern} {name}");
        }
    }
}

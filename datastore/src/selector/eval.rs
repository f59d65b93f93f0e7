//! Whether a selector matches labels.

use super::{Labels, Selector};

impl Selector {
    /// Whether a node with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = |key: &String| labels.get(key);
        match self {
            Selector::All => true,
            Selector::Has(key) => labels.contains_key(key),
            Selector::Equal(key, wanted) => value(key) == Some(wanted),
            Selector::NotEqual(key, unwanted) => value(key) != Some(unwanted),
            Selector::In(key, set) => value(key).is_some_and(|value| set.contains(value)),
            Selector::NotIn(key, set) => value(key).is_none_or(|value| !set.contains(value)),
            Selector::Contains(key, part) => value(key).is_some_and(|value| value.contains(part.as_str())),
            Selector::StartsWith(key, part) => {
                value(key).is_some_and(|value| value.starts_with(part.as_str()))
            }
            Selector::EndsWith(key, part) => value(key).is_some_and(|value| value.ends_with(part.as_str())),
            Selector::Not(inner) => !inner.matches(labels),
            Selector::And(all) => all.iter().all(|one| one.matches(labels)),
            Selector::Or(any) => any.iter().any(|one| one.matches(labels)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let labels = labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        let parsed: Selector = selector
            .parse()
            .unwrap_or_else(|error| panic!("{selector}: {error}"));
        assert_eq!(parsed.matches(&labels), expected, "{selector} on {labels:?}");
    }

    #[test]
    fn c020_precedence_parentheses_and_double_negation() {
        let ab = &[("a", "x"), ("b", "y")][..];
        check("a == 'x' || a == 'z' && b == 'z'", ab, true);
        check("(a == 'x' || a == 'z') && b == 'z'", ab, false);
        check("!a == 'z' && b == 'y'", ab, true);
        check("!(a == 'x' && b == 'z')", ab, true);
        check("!!has(a)", ab, true);
        check("!!!has(a)", ab, false);
    }

    #[test]
    fn c021_negations_are_true_for_an_absent_label() {
        for (text, expected) in [
            ("k != 'v'", true),
            ("k not in {'v'}", true),
            ("k notin {}", true),
            ("k == 'v'", false),
            ("k in {'v'}", false),
            ("k contains ''", false),
            ("k starts with ''", false),
            ("k ends with ''", false),
            ("has(k)", false),
        ] {
            check(text, &[], expected);
        }
    }

    #[test]
    fn c021_operators_on_a_present_label() {
        let labels = &[("k", "value"), ("empty", "")][..];
        check("k contains 'al'", labels, true);
        check("k starts with 'val'", labels, true);
        check("k starts with 'al'", labels, false);
        check("k ends with 'lue'", labels, true);
        check("k contains ''", labels, true);
        check("k in {'other', 'value'}", labels, true);
        check("k not in {'value'}", labels, false);
        check("k in {}", labels, false);
        check("k not in {}", labels, true);
        check("has(empty)", labels, true);
        check("k != 'value'", labels, false);
    }

    #[test]
    fn c022_spellings_of_the_operators_are_equal() {
        let labels = &[("k", "value")][..];
        check(
            "k startswith 'v' && k starts with 'v' && k starts   with 'v'",
            labels,
            true,
        );
        check("k endswith 'e' && k ends with 'e'", labels, true);
        check("k notin {'x'} && k not in {'x'} && k not  in{'x'}", labels, true);
    }

    #[test]
    fn c023_sets_quotes_and_commas() {
        let labels = &[("k", "it's"), ("d", r"a\'")][..];
        check(r#"k in { "it's" , 'x', }"#, labels, true);
        check("k in {}", labels, false);
        check(r#"d == "a\'""#, labels, true);
    }

    #[test]
    fn c024_all_and_global_match_nodes_without_labels() {
        check("all()", &[], true);
        check("global( )", &[], true);
        check("", &[], true);
        check("!all()", &[], false);
    }

    #[test]
    fn labels_may_be_called_like_operators() {
        let labels = &[("in", "x"), ("all", "y"), ("has", "z"), ("not", "n")][..];
        check(
            "in == 'x' && all == 'y' && has in {'z'} && not not in {'m'}",
            labels,
            true,
        );
        check("has(in)&&has( all\t)", labels, true);
    }
}

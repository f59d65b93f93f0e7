//! Text to selector.
//!
//! ```text
//! or      = and { "||" and }
//! and     = unary { "&&" unary }
//! unary   = { "!" } primary
//! primary = "(" or ")" | "has(" label ")" | "all(" ")" | "global(" ")" | label operator
//! ```
//! Only space and tab are white space. `has(`, `all(` and `global(` are one token each, so that labels may have
//! these names; for the same reason an operator is only looked for behind a label.

use std::collections::BTreeSet;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n};
use nom::character::complete::{char, space0};
use nom::combinator::{opt, value};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{many0_count, separated_list1};
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{IResult, Parser};

use super::Selector;

/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 64;

/// Longest label name, as in `libcalico-go`.
const MAX_LABEL_LEN: usize = 512;

/// The text is not a selector.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("column {column}: {expected} expected, found {found}")]
pub struct SelectorError {
    /// Where, in characters, from 1.
    pub column: usize,
    /// What could have stood there.
    pub expected: &'static str,
    /// What stands there instead.
    pub found: String,
}

/// What a parser wanted, and the text before which it stood.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Expected<'t> {
    rest: &'t str,
    what: &'static str,
}

impl<'t> ParseError<&'t str> for Expected<'t> {
    fn from_error_kind(rest: &'t str, _: ErrorKind) -> Self {
        Expected {
            rest,
            what: "something else",
        }
    }

    fn append(_: &'t str, _: ErrorKind, other: Self) -> Self {
        other
    }

    /// Of two alternatives the one that got further knows better what is wrong.
    fn or(self, other: Self) -> Self {
        if other.rest.len() < self.rest.len() {
            other
        } else {
            self
        }
    }
}

type Output<'t, T> = IResult<&'t str, T, Expected<'t>>;

/// Parses a whole text.
pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let rest = text.trim_start_matches([' ', '\t']);
    if rest.is_empty() {
        return Ok(Selector::All);
    }
    match or(rest, 0) {
        Ok(("", selector)) => Ok(selector),
        Ok((rest, _)) => Err(error(text, rest, "`&&`, `||` or the end")),
        Err(nom::Err::Error(expected) | nom::Err::Failure(expected)) => {
            Err(error(text, expected.rest, expected.what))
        }
        Err(nom::Err::Incomplete(_)) => Err(error(text, "", "more text")),
    }
}

fn error(text: &str, rest: &str, expected: &'static str) -> SelectorError {
    let offset = text.len() - rest.len();
    let found = match rest.chars().next() {
        None => "the end".to_owned(),
        Some(_) => format!("`{}`", rest.chars().take(20).collect::<String>()),
    };
    SelectorError {
        column: text[..offset].chars().count() + 1,
        expected,
        found,
    }
}

/// Says what was wanted when `parser` does not match; no other alternative is tried.
fn must<'t, T>(
    what: &'static str,
    mut parser: impl Parser<&'t str, Output = T, Error = Expected<'t>>,
) -> impl Parser<&'t str, Output = T, Error = Expected<'t>> {
    move |rest: &'t str| {
        parser.parse(rest).map_err(|error| match error {
            nom::Err::Error(_) => nom::Err::Failure(Expected { rest, what }),
            other => other,
        })
    }
}

/// A fixed text and the white space behind it.
fn token<'t>(text: &'static str) -> impl Parser<&'t str, Output = &'t str, Error = Expected<'t>> {
    terminated(tag(text), space0)
}

fn or(input: &str, depth: usize) -> Output<'_, Selector> {
    let (rest, mut any) = separated_list1(token("||"), |input| and(input, depth)).parse(input)?;
    let selector = match any.len() {
        1 => any.remove(0),
        _ => Selector::Or(any),
    };
    Ok((rest, selector))
}

fn and(input: &str, depth: usize) -> Output<'_, Selector> {
    let (rest, mut all) = separated_list1(token("&&"), |input| unary(input, depth)).parse(input)?;
    let selector = match all.len() {
        1 => all.remove(0),
        _ => Selector::And(all),
    };
    Ok((rest, selector))
}

fn unary(input: &str, depth: usize) -> Output<'_, Selector> {
    let (rest, negations) = many0_count(token("!")).parse(input)?;
    let (rest, selector) = primary(rest, depth)?;
    let selector = match negations % 2 {
        0 => selector,
        _ => Selector::Not(Box::new(selector)),
    };
    Ok((rest, selector))
}

fn primary(input: &str, depth: usize) -> Output<'_, Selector> {
    if depth >= MAX_DEPTH {
        return Err(nom::Err::Failure(Expected {
            rest: input,
            what: "at most 64 nested parentheses",
        }));
    }
    must(
        "a label, `!`, `(`, `has(`, `all()` or `global()`",
        alt((
            delimited(
                token("("),
                move |input| or(input, depth + 1),
                must("`)`", token(")")),
            ),
            preceded(
                token("has("),
                terminated(must("a label", label), must("`)`", token(")"))),
            )
            .map(Selector::Has),
            value(
                Selector::All,
                pair(alt((token("all("), token("global("))), must("`)`", token(")"))),
            ),
            comparison,
        )),
    )
    .parse(input)
}

fn comparison(input: &str) -> Output<'_, Selector> {
    let (rest, key) = label(input)?;
    let operand = || must("a quoted text", string);
    let words = |first, second| terminated(pair(tag(first), preceded(space0, tag(second))), space0);
    must(
        "`==`, `!=`, `in`, `not in`, `contains`, `starts with` or `ends with`",
        alt((
            preceded(token("=="), operand()).map(|v| Selector::Equal(key.clone(), v)),
            preceded(token("!="), operand()).map(|v| Selector::NotEqual(key.clone(), v)),
            preceded(token("contains"), operand()).map(|v| Selector::Contains(key.clone(), v)),
            preceded(words("starts", "with"), operand()).map(|v| Selector::StartsWith(key.clone(), v)),
            preceded(words("ends", "with"), operand()).map(|v| Selector::EndsWith(key.clone(), v)),
            preceded(words("not", "in"), set).map(|v| Selector::NotIn(key.clone(), v)),
            preceded(token("in"), set).map(|v| Selector::In(key.clone(), v)),
        )),
    )
    .parse(rest)
}

fn label(input: &str) -> Output<'_, String> {
    let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    terminated(take_while_m_n(1, MAX_LABEL_LEN, is_label), space0)
        .map(str::to_owned)
        .parse(input)
}

fn string(input: &str) -> Output<'_, String> {
    let double = delimited(
        char('"'),
        take_while(|c| c != '"'),
        must("a closing `\"`", char('"')),
    );
    let single = delimited(
        char('\''),
        take_while(|c| c != '\''),
        must("a closing `'`", char('\'')),
    );
    terminated(alt((double, single)), space0)
        .map(str::to_owned)
        .parse(input)
}

fn set(input: &str) -> Output<'_, BTreeSet<String>> {
    // A comma may end the list, but does not make one.
    let items = opt(terminated(separated_list1(token(","), string), opt(token(","))));
    delimited(
        must("`{`", token("{")),
        items,
        must("a quoted text, `,` or `}`", token("}")),
    )
    .map(|items| items.into_iter().flatten().collect())
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, column: usize, expected: &str) {
        let error = selector(text).expect_err(text);
        assert_eq!(
            (error.column, error.expected),
            (column, expected),
            "{text}: {error}"
        );
    }

    #[test]
    fn c025_errors_say_where_and_what_was_expected() {
        let operator = "`==`, `!=`, `in`, `not in`, `contains`, `starts with` or `ends with`";
        let operand = "a label, `!`, `(`, `has(`, `all()` or `global()`";
        check("a = 'x'", 3, operator);
        check("a == x", 6, "a quoted text");
        check("a == 'x' & b == 'y'", 10, "`&&`, `||` or the end");
        check("a == 'x' &&", 12, operand);
        check("(a == 'x'", 10, "`)`");
        check("a in {'x' 'y'}", 11, "a quoted text, `,` or `}`");
        check("a in {,}", 7, "a quoted text, `,` or `}`");
        check("has(a", 6, "`)`");
        check("has (a)", 5, operator);
        check("a == 'x", 8, "a closing `'`");
        check("a == 'x'\n&& has(b)", 9, "`&&`, `||` or the end");
        check("a == 5", 6, "a quoted text");
        check("|| a", 1, operand);
        check("äö == 'x'", 1, operand);
        check("a == 'äö' b", 11, "`&&`, `||` or the end");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |n: usize| format!("{}all(){}", "(".repeat(n), ")".repeat(n));
        assert_eq!(selector(&deep(60)), Ok(Selector::All));
        assert!(selector(&deep(100_000)).is_err());
        assert_eq!(
            selector(&format!("{}all()", "!".repeat(100_000))),
            Ok(Selector::All)
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r#"[ a-c!&|(){}=,'"]{0,40}"#) {
            let _ = selector(&text);
        }
    }
}

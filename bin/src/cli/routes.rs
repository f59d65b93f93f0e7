//! `pipit routes`: what BGP knows, path by path.

use std::io::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cli::age::age;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Column, Item, ListWriter};
use crate::cli::{FamilyArgs, GlobalArgs};
use crate::control::client::Client;
use crate::control::protocol::{AsPathElement, RouteItem, path};
use crate::control::query::{RouteParams, RouteQuery, Selection};

/// Arguments of `pipit routes`.
#[derive(Debug, clap::Args)]
pub struct RoutesArgs {
    /// PREFIX: that one; `for ADDRESS` or ADDRESS: its longest match; `in PREFIX`: that one and all within
    #[arg(value_name = "[for|in] PREFIX", num_args = 0..=2)]
    pub words: Vec<String>,
    /// Only paths from the peer of this name; `local` for this node's own
    #[arg(long, value_name = "PEER")]
    pub from: Option<String>,
    /// Also say whether the paths are announced to the peer of this name, and if not, why
    #[arg(long, value_name = "PEER")]
    pub to: Option<String>,
    /// Only the paths in use
    #[arg(long)]
    pub best: bool,
    /// Only one family.
    #[command(flatten)]
    pub family: FamilyArgs,
}

impl RoutesArgs {
    /// What is asked, or why it makes no sense.
    pub fn query(&self) -> Result<RouteQuery, CliError> {
        let RoutesArgs {
            words,
            from,
            to,
            best,
            family,
        } = self;
        let query = RouteQuery {
            selection: selection(words)?,
            family: family.family(),
            from: from.clone(),
            to: to.clone(),
            best: *best,
        };
        // The daemon's own check, made before it is asked.
        RouteQuery::try_from(RouteParams::from(query)).map_err(|error| CliError::Usage(error.to_string()))
    }
}

fn selection(words: &[String]) -> Result<Selection, CliError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(Selection::All),
        ["for", address] => Ok(Selection::LongestMatch(parse(address, "an address")?)),
        ["in", prefix] => Ok(Selection::Within(parse(prefix, "a prefix")?)),
        ["for"] => Err(CliError::Usage("`for` needs an address".to_owned())),
        ["in"] => Err(CliError::Usage("`in` needs a prefix".to_owned())),
        [one] => match one.parse::<IpAddr>() {
            Ok(address) => Ok(Selection::LongestMatch(address)),
            Err(_) => Ok(Selection::Exact(parse::<IpNet>(
                one,
                "a prefix, an address, `for` or `in`",
            )?)),
        },
        [other, ..] => Err(CliError::Usage(format!("{other:?} is neither `for` nor `in`"))),
    }
}

fn parse<T: std::str::FromStr>(text: &str, wanted: &str) -> Result<T, CliError> {
    text.parse()
        .map_err(|_| CliError::Usage(format!("{text:?} is not {wanted}")))
}

impl Item for RouteItem {
    const KIND: &'static str = "RouteList";

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("PREFIX", |route, _| route.prefix.to_string()),
        Column::new("BEST", |route, _| if route.best { "*" } else { "" }.to_owned()),
        Column::new("NEXT-HOP", |route, _| optional(route.next_hop)),
        Column::new("PEER", |route, _| route.peer.clone()),
        Column::new("AS-PATH", |route, _| as_path(&route.as_path)),
        Column::new("LOCAL-PREF", |route, _| optional(route.local_pref)),
        Column::new("MED", |route, _| optional(route.med)),
        Column::wide("ORIGIN", |route, _| route.origin.name().to_owned()),
        Column::wide("PATH-ID", |route, _| optional(route.path_id)),
        Column::wide("ORIGINATOR", |route, _| optional(route.originator_id)),
        Column::wide("CLUSTERS", |route, _| join(route.cluster_list.iter(), ",")),
        Column::wide("COMMUNITIES", communities),
        Column::wide("STALE", |route, _| {
            if route.stale { "stale" } else { "" }.to_owned()
        }),
        Column::wide("SINCE", |route, now| {
            route.since.map_or_else(String::new, |since| age(since, now))
        }),
        Column::new("REASON", |route, _| match &route.announced {
            None => route.reason.clone(),
            Some(announced) => format!("{}; to the peer: {announced}", route.reason),
        }),
    ];

    fn name(&self) -> String {
        self.prefix.to_string()
    }
}

/// Runs `pipit routes`.
pub async fn run(
    query: RouteQuery,
    mut client: Client,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let selection = query.selection;
    let params = serde_urlencoded::to_string(RouteParams::from(query))
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let count =
        print_list::<RouteItem>(&mut client, &format!("{}?{params}", path::ROUTES), global, out).await?;
    if count > 0 || !selection.is_one() {
        return Ok(Exit::Done);
    }
    Err(CliError::NotFound(match selection {
        Selection::LongestMatch(address) => format!("no route to {address}"),
        Selection::Exact(prefix) => format!("no route for exactly {prefix}; try `pipit routes in {prefix}`"),
        Selection::All | Selection::Within(_) => "no routes".to_owned(),
    }))
}

/// Prints a list that arrives as lines; returns how many items it had.
pub(crate) async fn print_list<T: Item>(
    client: &mut Client,
    path_and_query: &str,
    global: &GlobalArgs,
    out: &mut dyn Write,
) -> Result<usize, CliError> {
    let mut lines = client.lines(path_and_query).await?;
    let mut writer = ListWriter::<T>::new(out, global)?;
    loop {
        match lines.next().await {
            Ok(Some(line)) => writer.push_line(&line)?,
            Ok(None) => break,
            Err(error) => {
                writer.flush().map_err(CliError::Output)?;
                return Err(error.into());
            }
        }
    }
    let count = writer.count();
    writer.finish(&[])?;
    Ok(count)
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn join(values: impl Iterator<Item = impl ToString>, separator: &str) -> String {
    values
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(separator)
}

/// `64512 64513 {64514,64515}`, as every BGP daemon writes it.
fn as_path(path: &[AsPathElement]) -> String {
    let element = |element: &AsPathElement| match element {
        AsPathElement::As(asn) => asn.to_string(),
        AsPathElement::Set(set) => format!("{{{}}}", join(set.iter(), ",")),
    };
    join(path.iter().map(element), " ")
}

fn communities(route: &RouteItem, _: jiff::Timestamp) -> String {
    let all = [
        &route.communities,
        &route.large_communities,
        &route.extended_communities,
    ];
    join(all.into_iter().flatten(), ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_select_as_birdc_and_vtysh_users_expect() {
        let check = |text: &str, expected: Result<Selection, &str>| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            match (selection(&words), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
                (Err(error), Err(expected)) => {
                    assert_eq!(
                        (error.to_string().as_str(), error.exit()),
                        (expected, Exit::Usage)
                    );
                }
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        };
        let (prefix, address) = ("10.0.0.0/26".parse().unwrap(), "10.0.0.1".parse().unwrap());
        check("", Ok(Selection::All));
        check("10.0.0.0/26", Ok(Selection::Exact(prefix)));
        check("10.0.0.1", Ok(Selection::LongestMatch(address)));
        check("for 10.0.0.1", Ok(Selection::LongestMatch(address)));
        check("in 10.0.0.0/26", Ok(Selection::Within(prefix)));
        check("for", Err("`for` needs an address"));
        check("for 10.0.0.0/26", Err("\"10.0.0.0/26\" is not an address"));
        check("below 10.0.0.0/26", Err("\"below\" is neither `for` nor `in`"));
        check(
            "nonsense",
            Err("\"nonsense\" is not a prefix, an address, `for` or `in`"),
        );
    }

    #[test]
    fn as_sets_have_braces() {
        let path: Vec<AsPathElement> = serde_json::from_str("[64512,64513,[64514,64515]]").unwrap();
        assert_eq!(as_path(&path), "64512 64513 {64514,64515}");
    }
}

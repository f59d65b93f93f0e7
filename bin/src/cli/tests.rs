use std::path::Path;

use clap::CommandFactory;

use super::*;

fn parse(words: &str) -> Cli {
    Cli::try_parse_from(words.split_whitespace()).unwrap_or_else(|error| panic!("{words}: {error}"))
}

fn query(words: &str) -> QueryCommand {
    match parse(words).command {
        Command::Query(query) | Command::Show { query } => query,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn the_clap_tree_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    for words in [
        "pipit --socket /s -o json peers",
        "pipit peers --socket /s -o json",
        "pipit -j peers --socket /s",
    ] {
        let cli = parse(words);
        assert_eq!(
            (cli.global.socket.as_path(), cli.global.format()),
            (Path::new("/s"), Format::Json),
            "{words}"
        );
    }
    assert_eq!(
        parse("pipit -o text fib").global.format(),
        Format::Table,
        "the contract of plan says text"
    );
}

#[test]
fn show_and_get_are_ignored_and_commands_may_be_short() {
    for words in [
        "pipit peers",
        "pipit status",
        "pipit show peers",
        "pipit get peers",
        "pipit sh stat",
    ] {
        assert!(matches!(query(words), QueryCommand::Peers(_)), "{words}");
    }
    for words in [
        "pipit ro",
        "pipit show routes",
        "pipit --socket /s show routes in 10.0.0.0/8",
    ] {
        assert!(matches!(query(words), QueryCommand::Routes(_)), "{words}");
    }
    assert!(
        matches!(query("pipit peer Mesh_10_0_0_2"), QueryCommand::Peer(_)),
        "not taken for `peers`"
    );
}

#[test]
fn plan_needs_exactly_one_source() {
    let is_usage =
        |words: &str| Cli::try_parse_from(words.split_whitespace()).is_err_and(|e| e.exit_code() == 2);
    assert!(is_usage("pipit plan --node a"));
    assert!(is_usage("pipit plan --node a --from x --from-etcd"));
    assert!(!is_usage("pipit plan --node a --from x"));
    assert!(!is_usage("pipit plan --from-etcd --etcd-endpoints http://a:1"));
}

#[test]
fn families_exclude_each_other() {
    assert!(Cli::try_parse_from(["pipit", "routes", "-4", "-6"]).is_err());
    let QueryCommand::Fib(args) = query("pipit fib -6") else {
        panic!("fib")
    };
    assert_eq!(args.family.family(), Some(Family::Ipv6Unicast));
}

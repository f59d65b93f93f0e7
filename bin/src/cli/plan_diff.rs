//! `pipit plan --diff`: what would change if the running daemon had these resources, and what that does to sessions.
//!
//! Both plans are made here, with the daemon's own variables, files and passwords (in disguise), so that nothing but
//! the resources makes a difference, and the daemon is not kept busy.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use pipit_datastore::cache::Cache;
use pipit_datastore::desired::{DesiredState, Problem, Session, desired};
use pipit_datastore::diff::{Change, ChangeClass, diff};
use pipit_datastore::inputs::{Disguise, Inputs};
use serde::{Deserialize, Serialize};

use crate::cli::GlobalArgs;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Column, Format, Item, ListWriter};
use crate::cli::table::printable;
use crate::control::client::{Client, ClientError};
use crate::control::protocol::path;

/// One change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ChangeItem {
    /// What it does to the sessions it concerns: `session_reset`, `route_refresh` or `no_effect`.
    pub class: String,
    /// What changes, for people.
    pub change: String,
    /// Of a session that is another one: the settings that differ.
    pub settings: Vec<SettingItem>,
}

/// One setting of a session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SettingItem {
    /// Its name.
    pub setting: String,
    /// What this setting alone does to the session.
    pub class: String,
    /// How it is.
    pub from: String,
    /// How it would be.
    pub to: String,
}

impl Item for ChangeItem {
    const KIND: &'static str = "ChangeList";

    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("EFFECT", |item, _| effect(&item.class).to_owned()),
        Column::new("CHANGE", text),
    ];

    fn name(&self) -> String {
        self.change.clone()
    }
}

/// What the daemon has in force.
pub struct InForce {
    inputs: Inputs,
    disguise: Disguise,
}

impl InForce {
    /// Asks the daemon.
    pub async fn fetch(client: &mut Client) -> Result<InForce, CliError> {
        let mut lines = client.lines(path::INPUTS).await?;
        let mut texts = Vec::new();
        while let Some(line) = lines.next().await? {
            texts.push(String::from_utf8_lossy(&line).into_owned());
        }
        let parsed = Inputs::parse(texts.iter().map(String::as_str));
        let (inputs, disguise) = parsed.map_err(|error| {
            CliError::Client(ClientError::Unreadable {
                path: client.path().to_owned(),
                what: error.to_string(),
            })
        })?;
        Ok(InForce { inputs, disguise })
    }

    /// The node that the daemon acts for.
    pub fn node(&self) -> &str {
        self.inputs.record.node()
    }

    /// The resources in force.
    pub fn cache(&self) -> Cache {
        self.inputs.cache()
    }

    /// Prints what changes with the resources of `new` in place of those of `old`.
    pub fn compare(
        &self,
        old: &Cache,
        mut new: Cache,
        global: &GlobalArgs,
        out: &mut dyn Write,
    ) -> Result<Exit, CliError> {
        new.replace_secrets(|secret| self.disguise.of(secret));
        let environment = &self.inputs.environment;
        let old = desired(old, self.node(), environment)?;
        let new = desired(&new, self.node(), environment)?;
        let mut items: Vec<ChangeItem> = diff(&old, &new)
            .iter()
            .map(|change| item(change, &old, &new))
            .collect();
        // What hurts most comes first.
        items.sort_by_key(|item| std::cmp::Reverse(severity(&item.class)));
        let news = |problem: &&Problem| !old.problems.contains(problem);
        let problems: Vec<&Problem> = new.problems.iter().filter(news).collect();
        let mut writer = ListWriter::new(out, global)?;
        for item in &items {
            writer.push(item)?;
        }
        let shown = serde_json::to_value(&problems).map_err(CliError::Item)?;
        writer.finish(&[("node", self.node().into()), ("problems", shown)])?;
        if matches!(global.format(), Format::Table | Format::Wide) && !global.no_headers {
            footer(out, self.node(), &items, &problems).map_err(CliError::Output)?;
        }
        Ok(Exit::Done)
    }
}

fn item(change: &Change, old: &DesiredState, new: &DesiredState) -> ChangeItem {
    let mut settings = Vec::new();
    if let Change::SessionChanged {
        old_name,
        name,
        settings: changed,
        ..
    } = change
    {
        let find = |state: &DesiredState, wanted: &str| -> Option<Session> {
            state.sessions().find(|session| session.name == *wanted).cloned()
        };
        if let Some((from, to)) = find(old, old_name).zip(find(new, name)) {
            settings.extend(changed.iter().map(|setting| SettingItem {
                setting: setting.name().to_owned(),
                class: word(setting.class()).to_owned(),
                from: setting.value(&from),
                to: setting.value(&to),
            }));
        }
    }
    ChangeItem {
        class: word(change.class()).to_owned(),
        change: change.to_string(),
        settings,
    }
}

fn word(class: ChangeClass) -> &'static str {
    match class {
        ChangeClass::NoEffect => "no_effect",
        ChangeClass::RouteRefresh => "route_refresh",
        ChangeClass::SessionReset => "session_reset",
    }
}

fn effect(class: &str) -> &str {
    match class {
        "no_effect" => "none",
        "route_refresh" => "route refresh",
        "session_reset" => "session reset",
        other => other,
    }
}

fn severity(class: &str) -> usize {
    ["no_effect", "route_refresh", "session_reset"]
        .iter()
        .position(|known| *known == class)
        .unwrap_or_default()
}

/// `session Mesh_10_0_0_2: keepalive 80s to 20s, next hop auto to self`.
fn text(item: &ChangeItem, _: Timestamp) -> String {
    let Some((subject, _)) = item.change.split_once(": ").filter(|_| !item.settings.is_empty()) else {
        return item.change.clone();
    };
    let settings = item.settings.iter();
    let settings: Vec<String> = settings
        .map(
            |SettingItem {
                 setting, from, to, ..
             }| match from == to {
                // Passwords: there is one before and after, and it is another one.
                true => format!("{setting}, another one"),
                false => format!("{setting} {from} to {to}"),
            },
        )
        .collect();
    format!("{subject}: {}", settings.join(", "))
}

fn footer(
    out: &mut dyn Write,
    node: &str,
    items: &[ChangeItem],
    problems: &[&Problem],
) -> std::io::Result<()> {
    if items.is_empty() {
        writeln!(out, "Node {node}: nothing would change")?;
    } else {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for item in items {
            *counts.entry(severity(&item.class)).or_default() += 1;
        }
        let of = |class: &str| counts.get(&severity(class)).copied().unwrap_or_default();
        writeln!(out)?;
        writeln!(
            out,
            "Node {node}: {} with session reset, {} with route refresh, {} without effect on sessions",
            of("session_reset"),
            of("route_refresh"),
            of("no_effect"),
        )?;
    }
    if !problems.is_empty() {
        writeln!(out, "New problems:")?;
    }
    for Problem {
        resource,
        field,
        message,
    } in problems
    {
        writeln!(
            out,
            "  {} {}: {}",
            printable(resource),
            printable(field),
            printable(message)
        )?;
    }
    Ok(())
}

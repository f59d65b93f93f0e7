//! Log lines on stderr, for people or for machines, with a level that can change at run time.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::daemon::config::LogFormat;
use crate::daemon::stderr::Stderr;

/// Logging that cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A word that is no level.
    #[error("log level {given:?} is none of off, error, warn, info, debug, trace")]
    Level {
        /// The word.
        given: String,
    },
    /// A filter that is none.
    #[error("log filter {given:?}: {source}")]
    Filter {
        /// The text.
        given: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A filter by spans or fields.
    #[error("log filter {given:?}: only levels and TARGET=LEVEL are supported, not spans or fields")]
    Span {
        /// The text.
        given: String,
    },
    /// Logging is set up already.
    #[error(transparent)]
    Init(#[from] TryInitError),
    /// Logging was torn down.
    #[error(transparent)]
    Gone(#[from] reload::Error),
}

/// Changes the level of a running program.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
}

impl LogControl {
    /// Puts another filter in force at once.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        Ok(self.filter.reload(parse(level)?)?)
    }

    /// The filter in force.
    pub fn level(&self) -> Result<String, LogError> {
        Ok(self.filter.with_current(Targets::to_string)?)
    }
}

/// Sets up logging for the whole process.
pub fn init(level: &str, format: LogFormat) -> Result<LogControl, LogError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let lines = match format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(|| Stderr)
            .boxed(),
        LogFormat::Text => {
            let is_coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            fmt::layer().with_ansi(is_coloured).with_writer(|| Stderr).boxed()
        }
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(LogControl { filter: handle })
}

/// Strict: `Targets` alone takes any word for the name of a target and then logs nothing else.
fn parse(level: &str) -> Result<Targets, LogError> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let directives: Vec<&str> = level.split(',').map(str::trim).collect();
    if let Some(&word) = directives
        .iter()
        .find(|word| !word.contains('=') && !is_level(word))
    {
        return Err(LogError::Level {
            given: word.to_owned(),
        });
    }
    if level.contains(['[', '{']) {
        return Err(LogError::Span {
            given: level.to_owned(),
        });
    }
    directives.join(",").parse().map_err(|source| LogError::Filter {
        given: level.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_parse_and_typing_errors_do_not() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "warn,pipit_bgp=trace",
            "info, pipit_rib::fib=debug",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "verbose",
            "info,pipit_bgp=loud",
            "inof",
            "",
            "[session]=debug",
            "info,pipit_bgp[{peer}]=debug",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_level_changes_while_running_and_a_bad_one_changes_nothing() {
        let (_layer, filter) = reload::Layer::<Targets, Registry>::new(parse("info").unwrap());
        let control = LogControl { filter };
        control.set_level("debug").unwrap();
        assert_eq!(control.level().unwrap(), "debug");
        assert!(control.set_level("loud").is_err());
        assert_eq!(control.level().unwrap(), "debug");
    }
}

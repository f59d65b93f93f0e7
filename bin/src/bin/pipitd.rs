//! The daemon: arguments and environment to a configuration, then [`pipit::daemon::run`].

use std::process::ExitCode;

use clap::Parser;
use pipit::daemon;
use pipit::daemon::config::{Config, Flags};
use pipit::daemon::machine::Machine;
use pipit::daemon::{logging, privilege};

fn main() -> ExitCode {
    let config = match Config::resolve(Flags::parse(), Machine::read().surroundings()) {
        Ok(config) => config,
        Err(error) => return fail(&error.into(), 2),
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    privilege::check()?;
    let logs = logging::init(&config.log_level, config.log_format)?;
    for ignored in &config.ignored {
        tracing::warn!("{ignored}");
    }
    daemon::run(config, logs)
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("pipitd: {error:#}");
    ExitCode::from(code)
}

//! The daemon: arguments and environment to a configuration, then [`pipit::daemon::run`].

use std::process::ExitCode;

use clap::Parser;
use pipit::daemon;
use pipit::daemon::config::{Config, Flags, NODENAME_FILE, Surroundings};
use pipit::daemon::{logging, privilege};

fn main() -> ExitCode {
    let config = match configure(Flags::parse()) {
        Ok(config) => config,
        Err(error) => return fail(&error.into(), 2),
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn configure(flags: Flags) -> Result<Config, daemon::config::ConfigError> {
    let read = |path| std::fs::read_to_string(path).ok();
    let (nodename_file, hostname) = (read(NODENAME_FILE), read("/proc/sys/kernel/hostname"));
    let around = Surroundings {
        env: &|name| std::env::var(name).ok(),
        nodename_file: nodename_file.as_deref(),
        hostname: hostname.as_deref(),
    };
    Config::resolve(flags, around)
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

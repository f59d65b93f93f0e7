//! The command line `pipit`: one variant a command, one file a command.
//!
//! A command asks the daemon (`control::client`) and hands items to `output`, which knows the formats. Nothing here
//! prints by `println!`, which panics when the pipe is closed.

mod age;
pub mod check;
pub mod datastore;
pub mod debug;
pub mod drain;
pub mod exit;
pub mod fib;
pub mod output;
pub mod peer;
pub mod peers;
pub mod plan;
pub mod plan_diff;
pub mod reset;
pub mod resources;
pub mod routes;
mod table;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pipit_bgp::Family;

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Format;
use crate::control::client::Client;
use crate::control::protocol::DEFAULT_SOCKET;

/// Asks pipitd, Calico's BGP daemon, what it does.
#[derive(Debug, Parser)]
#[command(
    name = "pipit",
    version,
    infer_subcommands = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Commands may be shortened (`pipit ro`); `show` and `get` before a command are ignored.\n\
    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon answered, 4 not found, 5 not allowed,\n\
    6 some peer is down (with --check)."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes, before or after its name.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Control socket of the daemon
    #[arg(long, global = true, env = "PIPIT_SOCKET", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Output format
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub output: Format,
    /// Same as -o json
    #[arg(short, long, global = true, conflicts_with = "output")]
    pub json: bool,
    /// Leave out the header line of tables, and the lines below them
    #[arg(long, global = true)]
    pub no_headers: bool,
}

impl GlobalArgs {
    /// The output format asked for.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What asks a running daemon.
    #[command(flatten)]
    Query(QueryCommand),
    /// The same, for hands that are used to birdc, vtysh or kubectl.
    #[command(hide = true, alias = "get", infer_subcommands = true)]
    Show {
        /// What to show.
        #[command(subcommand)]
        query: QueryCommand,
    },
    /// What a node would do with these resources; touches nothing
    Plan(plan::PlanArgs),
    /// Problems in a file or folder of resources
    Check(check::CheckArgs),
}

/// The commands that ask a running daemon.
#[derive(Debug, Subcommand)]
pub enum QueryCommand {
    /// Sessions and the daemon's own state
    #[command(visible_alias = "status", aliases = ["neighbors", "protocols"])]
    Peers(peers::PeersArgs),
    /// One peer in full
    #[command(alias = "neighbor")]
    Peer(peer::PeerArgs),
    /// Routes known by BGP, with the reason of each choice
    #[command(alias = "rib")]
    Routes(routes::RoutesArgs),
    /// This node's routes in the kernel
    Fib(fib::FibArgs),
    /// What an operator may say about the datastore
    Datastore(datastore::DatastoreArgs),
    /// End a peer's session and begin it anew; one that waits after an error is tried now
    #[command(alias = "restart")]
    Reset(peer::PeerArgs),
    /// Ask peers to prefer other ways than through this node (RFC 8326), before it goes
    Drain(drain::DrainArgs),
    /// End what `drain` began
    Undrain,
    /// For those who doubt the daemon
    Debug(debug::DebugArgs),
}

/// Restricts a list to one address family.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct FamilyArgs {
    /// Only IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,
}

impl FamilyArgs {
    /// The family asked for; `None`: both.
    pub fn family(self) -> Option<Family> {
        match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::Ipv4Unicast),
            (false, true) => Some(Family::Ipv6Unicast),
            (false, false) => None,
        }
    }
}

/// Runs `pipit` on the arguments of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run(&cli, &mut out);
    // What came before an error is shown too.
    let flushed = out.flush().map_err(CliError::Output);
    match result.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Done {
                complain(&error);
            }
            exit.into()
        }
    }
}

fn run(cli: &Cli, out: &mut dyn Write) -> Result<Exit, CliError> {
    let query = match &cli.command {
        Command::Query(query) | Command::Show { query } => query,
        Command::Plan(args) => return plan::run(args, &cli.global, out),
        Command::Check(args) => return check::run(args, &cli.global, out),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(ask(query, &cli.global, out))
}

async fn ask(query: &QueryCommand, global: &GlobalArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    // Arguments are judged before the daemon is asked: wrong usage is wrong on every node.
    match query {
        QueryCommand::Peers(args) => peers::run(args, connect(global).await?, global, out).await,
        QueryCommand::Peer(args) => peer::run(args, connect(global).await?, global, out).await,
        QueryCommand::Routes(args) => {
            let query = args.query()?;
            routes::run(query, connect(global).await?, global, out).await
        }
        QueryCommand::Fib(args) => fib::run(args, connect(global).await?, global, out).await,
        QueryCommand::Reset(args) => reset::run(args, connect(global).await?, global, out).await,
        QueryCommand::Drain(args) => drain::run(Some(args), connect(global).await?, global, out).await,
        QueryCommand::Undrain => drain::run(None, connect(global).await?, global, out).await,
        QueryCommand::Debug(args) => debug::run(args, connect(global).await?, global, out).await,
        QueryCommand::Datastore(args) => datastore::run(args, connect(global).await?, global, out).await,
    }
}

async fn connect(global: &GlobalArgs) -> Result<Client, CliError> {
    Ok(Client::connect(&global.socket).await?)
}

fn complain(error: &CliError) {
    let mut err = io::stderr().lock();
    // Nobody is left to tell when stderr is closed as well.
    let _ = writeln!(err, "pipit: {error}");
    if let Some(hint) = error.hint() {
        let _ = writeln!(err, "{hint}");
    }
}

#[cfg(test)]
mod tests;

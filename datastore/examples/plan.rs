//! `pipit plan` in small, for `golden/check.py` before and without the CLI.
//!
//! `plan [plan] --node NAME --from PATH [-o json|text]`

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use pipit_datastore::desired::Environment;
use pipit_datastore::manifest::{self, ManifestItem};
use pipit_datastore::model::EndpointStatus;
use pipit_datastore::plan;

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            let is_written = io::Write::write_all(&mut io::stdout(), text.as_bytes()).is_ok();
            ExitCode::from(u8::from(!is_written))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().collect();
    let value = |flag: &str| {
        let place = arguments.iter().position(|argument| argument == flag);
        place.and_then(|place| arguments.get(place + 1)).cloned()
    };
    let node = value("--node").ok_or("--node NAME is needed")?;
    let from = value("--from").ok_or("--from PATH is needed")?;
    let mut environment = Environment::from_vars(|name| env::var(name).ok());
    if let Ok(prefix) = env::var("CALICO_ENDPOINT_STATUS_PATH_PREFIX") {
        environment.endpoints = endpoints(&Path::new(&prefix).join("endpoint-status"));
    }
    let state = plan::plan(read(Path::new(&from))?, &node, &environment)?;
    Ok(match value("-o").as_deref() {
        Some("json") => plan::to_json(&state)?,
        _ => plan::to_text(&state),
    })
}

fn read(path: &Path) -> io::Result<Vec<ManifestItem>> {
    let mut paths = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            paths.push(entry?.path());
        }
        paths.retain(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
        });
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        files.push(manifest::read(&text, &path.display().to_string()));
    }
    Ok(manifest::merge(files))
}

fn endpoints(folder: &Path) -> Vec<EndpointStatus> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut endpoints: Vec<_> = entries
        .filter_map(|entry| EndpointStatus::parse(&fs::read_to_string(entry.path()).ok()?))
        .collect();
    endpoints.sort();
    endpoints
}

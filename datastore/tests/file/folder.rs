//! Folders: editors, ConfigMaps and mistakes.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipit_datastore::backend::{StoreEvent, StoreStatus};
use pipit_datastore::io::file;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

struct Watched {
    events: mpsc::Receiver<StoreEvent>,
    _cancel: DropGuard,
}

impl Watched {
    fn new(path: PathBuf) -> Watched {
        let (sender, events) = mpsc::channel(16);
        let cancel = CancellationToken::new();
        tokio::spawn(file::run(path, sender, cancel.clone()));
        Watched {
            events,
            _cancel: cancel.drop_guard(),
        }
    }

    async fn next(&mut self) -> StoreEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("nothing is delivered").expect("the back-end ended")
    }

    /// Events up to and with the next mark, as text: `+key cidr`, `-key`, `!origin: error`, `.` for the mark.
    async fn batch(&mut self) -> Vec<String> {
        let mut batch = Vec::new();
        loop {
            match self.next().await {
                StoreEvent::Put { key, value, .. } => {
                    let cidr = value["spec"]["cidr"].as_str().unwrap_or_default().to_owned();
                    batch.push(format!("+{key} {cidr}").trim_end().to_owned());
                }
                StoreEvent::Delete { key } => batch.push(format!("-{key}")),
                StoreEvent::Unreadable { key, origin, error } => {
                    assert_eq!(key, None);
                    batch.push(format!("!{origin}: {error}"));
                }
                StoreEvent::Readable { origin } => batch.push(format!("mended {origin}")),
                StoreEvent::Begin => batch.push("begin".into()),
                StoreEvent::Status(StoreStatus::Connected { .. }) => batch.push("connected".into()),
                StoreEvent::Status(StoreStatus::Lost { reason }) => return vec![format!("lost {reason}")],
                StoreEvent::SnapshotDone { .. } | StoreEvent::Settled { .. } => return batch,
            }
        }
    }
}

fn pool(name: &str, cidr: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {{name: {name}}}, spec: {{cidr: {cidr}}}}}\n---\n"
    )
}

fn affinity(node: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: BlockAffinity, metadata: {{name: b}}, \
         spec: {{node: {node}, cidr: 10.0.0.0/26}}}}"
    )
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[tokio::test]
async fn a_folder_is_one_snapshot_and_only_manifests_count() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.yaml", pool("a", "10.1.0.0/16"));
    write(root.path(), "b.json", pool("b", "10.2.0.0/16"));
    write(root.path(), "c.yml", pool("c", "10.3.0.0/16"));
    write(root.path(), "d.txt", pool("d", "10.4.0.0/16"));
    write(root.path(), "e.yaml~", pool("e", "10.5.0.0/16"));
    std::fs::create_dir(root.path().join("f.yaml")).unwrap();
    let expected = [
        "connected",
        "begin",
        "+IPPool/a 10.1.0.0/16",
        "+IPPool/b 10.2.0.0/16",
        "+IPPool/c 10.3.0.0/16",
    ];
    assert_eq!(Watched::new(root.path().to_owned()).batch().await, expected);
    let once = file::read_once(root.path()).unwrap();
    assert_eq!(once.len(), 5, "{once:?}");
}

#[tokio::test]
async fn changes_act_live_and_alone() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.yaml", pool("a", "10.1.0.0/16"));
    write(root.path(), "b.yaml", pool("b", "10.2.0.0/16"));
    let mut watched = Watched::new(root.path().to_owned());
    watched.batch().await;
    let since = Instant::now();
    write(root.path(), ".a.yaml.swp", pool("a", "10.9.0.0/16"));
    std::fs::rename(root.path().join(".a.yaml.swp"), root.path().join("a.yaml")).unwrap();
    assert_eq!(watched.batch().await, ["+IPPool/a 10.9.0.0/16"]);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    std::fs::remove_file(root.path().join("b.yaml")).unwrap();
    assert_eq!(watched.batch().await, ["-IPPool/b"]);
    write(root.path(), "c.yaml", pool("c", "10.3.0.0/16"));
    assert_eq!(watched.batch().await, ["+IPPool/c 10.3.0.0/16"]);
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_state_and_is_named_with_its_line() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "a.yaml",
        pool("a", "10.1.0.0/16") + &pool("b", "10.2.0.0/16"),
    );
    let mut watched = Watched::new(root.path().to_owned());
    watched.batch().await;
    write(root.path(), "a.yaml", "kind: IPPool\nspec: [\n");
    let broken = watched.batch().await;
    assert!(
        broken.len() == 1 && broken[0].starts_with("!a.yaml"),
        "{broken:?}"
    );
    assert!(broken[0].contains("line"), "{broken:?}");
    // Others go on while it is broken.
    write(root.path(), "c.yaml", pool("c", "10.3.0.0/16"));
    assert_eq!(watched.batch().await, ["+IPPool/c 10.3.0.0/16"]);
    write(root.path(), "a.yaml", pool("a", "10.7.0.0/16"));
    let mended = watched.batch().await;
    assert_eq!(mended, ["-IPPool/b", "+IPPool/a 10.7.0.0/16", "mended a.yaml"]);
}

#[tokio::test]
async fn the_same_text_after_a_failed_read_mends_it() {
    let root = tempfile::tempdir().unwrap();
    let text = pool("a", "10.1.0.0/16");
    write(root.path(), "a.yaml", &text);
    let mut watched = Watched::new(root.path().to_owned());
    watched.batch().await;
    write(root.path(), "a.yaml", b"\xff\xfe");
    assert!(watched.batch().await[0].starts_with("!a.yaml"));
    write(root.path(), "a.yaml", &text);
    assert_eq!(watched.batch().await, ["mended a.yaml"]);
}

#[tokio::test]
async fn an_object_of_two_files_is_the_later_ones_and_falls_back() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "1.yaml", pool("p", "10.1.0.0/16") + &affinity("one"));
    write(root.path(), "2.yaml", pool("p", "10.2.0.0/16") + &affinity("two"));
    let mut watched = Watched::new(root.path().to_owned());
    let snapshot = watched.batch().await;
    assert_eq!(
        snapshot[2..],
        ["+IPPool/p 10.2.0.0/16", "+BlockAffinity/b 10.0.0.0/26"]
    );
    std::fs::remove_file(root.path().join("2.yaml")).unwrap();
    let fallen_back = [
        "-BlockAffinity/b",
        "+IPPool/p 10.1.0.0/16",
        "+BlockAffinity/b 10.0.0.0/26",
    ];
    assert_eq!(
        watched.batch().await,
        fallen_back,
        "the block went to another node"
    );
}

#[tokio::test]
async fn a_file_emptied_to_be_filled_loses_nothing_and_an_empty_one_is_empty() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.yaml", pool("a", "10.1.0.0/16"));
    let mut watched = Watched::new(root.path().to_owned());
    watched.batch().await;
    // Not filled within the second look: it is meant so.
    write(root.path(), "a.yaml", "");
    assert_eq!(watched.batch().await, ["-IPPool/a"]);
    write(root.path(), "a.yaml", pool("a", "10.2.0.0/16"));
    assert_eq!(watched.batch().await, ["+IPPool/a 10.2.0.0/16"]);
}

#[tokio::test]
async fn a_config_map_is_swapped_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let version = |name: &str, cidr: &str| {
        std::fs::create_dir(root.path().join(name)).unwrap();
        write(&root.path().join(name), "a.yaml", pool("a", cidr));
        symlink(name, root.path().join("..data_tmp")).unwrap();
        std::fs::rename(root.path().join("..data_tmp"), root.path().join("..data")).unwrap();
    };
    version("..1", "10.1.0.0/16");
    symlink("..data/a.yaml", root.path().join("a.yaml")).unwrap();
    for path in [root.path().to_owned(), root.path().join("a.yaml")] {
        let mut watched = Watched::new(path.clone());
        let first = watched.batch().await.pop();
        let is_folder = path == root.path();
        let (old, new) = if is_folder { ("1", "2") } else { ("2", "3") };
        assert_eq!(first, Some(format!("+IPPool/a 10.{old}.0.0/16")));
        version(&format!("..{new}"), &format!("10.{new}.0.0/16"));
        assert_eq!(watched.batch().await, [format!("+IPPool/a 10.{new}.0.0/16")]);
    }
}

#[tokio::test]
async fn a_missing_folder_is_waited_for_and_one_that_vanishes_takes_nothing_with_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("resources");
    let mut watched = Watched::new(folder.clone());
    let lost = watched.batch().await;
    assert!(
        lost[0].starts_with(&format!("lost cannot read {}", folder.display())),
        "{lost:?}"
    );
    let ready = root.path().join("ready");
    std::fs::create_dir(&ready).unwrap();
    write(&ready, "a.yaml", pool("a", "10.1.0.0/16"));
    std::fs::rename(&ready, &folder).unwrap();
    assert_eq!(
        watched.batch().await,
        ["connected", "begin", "+IPPool/a 10.1.0.0/16"]
    );
    let away = root.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    assert!(watched.batch().await[0].starts_with("lost"));
    write(
        &away,
        "a.yaml",
        pool("a", "10.1.0.0/16") + &pool("b", "10.2.0.0/16"),
    );
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(watched.batch().await, ["connected", "+IPPool/b 10.2.0.0/16"]);
}

#[tokio::test]
async fn a_burst_of_files_arrives_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut watched = Watched::new(root.path().to_owned());
    watched.batch().await;
    for number in 0..300 {
        let (file, name) = (format!("{number}.yaml"), format!("p{number}"));
        write(root.path(), &file, pool(&name, "10.1.0.0/16"));
    }
    let mut objects = std::collections::BTreeSet::new();
    while objects.len() < 300 {
        for change in watched.batch().await {
            assert!(
                change.starts_with("+IPPool/p") && objects.insert(change.clone()),
                "{change}"
            );
        }
    }
}

use clap::{CommandFactory, Parser};

use super::*;

/// Resolves a command line with these variables, as text so that a case is one line.
fn resolve(arguments: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    resolve_on(arguments, env, Some("from-file\n"), Some("Host.Example"))
}

fn resolve_on(
    arguments: &str,
    env: &[(&str, &str)],
    nodename_file: Option<&str>,
    hostname: Option<&str>,
) -> Result<Config, String> {
    let words = std::iter::once("pipitd").chain(arguments.split_whitespace());
    let flags = Flags::try_parse_from(words).map_err(|error| error.to_string())?;
    let lookup = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let around = Surroundings {
        env: &lookup,
        nodename_file,
        hostname,
    };
    Config::resolve(flags, around).map_err(|error| error.to_string())
}

fn etcd(config: Config) -> EtcdConfig {
    match config.datastore {
        DatastoreConfig::Etcd(etcd) => etcd,
        DatastoreConfig::File { .. } => panic!("etcd expected"),
    }
}

#[test]
fn the_clap_tree_is_consistent() {
    Flags::command().debug_assert();
}

#[test]
fn nothing_given_means_files_in_their_usual_places() {
    let config = resolve("", &[]).unwrap();
    assert_eq!(
        config.datastore,
        DatastoreConfig::File {
            path: DEFAULT_DATASTORE_PATH.into()
        }
    );
    assert_eq!(config.socket, PathBuf::from(DEFAULT_SOCKET));
    assert_eq!(
        (config.log_level.as_str(), config.log_format),
        ("info", LogFormat::Text)
    );
    assert_eq!(config.secrets_dir, None);
}

#[test]
fn node_name_is_found_in_calicos_order() {
    let env = [("NODENAME", "From-Env"), ("HOSTNAME", "From-Hostname ")];
    let name = |arguments, env: &[_], file, host| {
        resolve_on(arguments, env, file, host).map(|found| found.node_name)
    };
    assert_eq!(
        name("--node-name From-Flag", &env, Some("f"), Some("h")).unwrap(),
        "From-Flag"
    );
    assert_eq!(name("", &env, Some("f"), Some("h")).unwrap(), "From-Env");
    assert_eq!(
        name("", &env[1..], Some(" From-File\n"), Some("h")).unwrap(),
        "From-File"
    );
    assert_eq!(
        name("", &env[1..], Some("\n"), Some("h")).unwrap(),
        "from-hostname"
    );
    assert_eq!(name("", &[], None, Some("Host.Example")).unwrap(), "host.example");
    assert!(
        name("", &[("NODENAME", "")], None, None)
            .unwrap_err()
            .starts_with("which node is this?")
    );
    assert!(
        name("--node-name a/b", &[], None, None)
            .unwrap_err()
            .contains("\"a/b\"")
    );
}

#[test]
fn endpoints_choose_etcd_wherever_they_are_said() {
    let both = [
        ("ETCD_ENDPOINTS", "http://a:1"),
        ("CALICO_ETCD_ENDPOINTS", "http://b:2, https://c:3,"),
    ];
    let endpoints = |arguments, env: &[_]| etcd(resolve(arguments, env).unwrap()).endpoints;
    assert_eq!(endpoints("", &both[..1]), ["http://a:1"]);
    assert_eq!(endpoints("", &both), ["http://b:2", "https://c:3"]);
    assert_eq!(
        endpoints("--etcd-endpoints http://d:4,http://e:5", &both),
        ["http://d:4", "http://e:5"]
    );
}

#[test]
fn a_datastore_that_is_named_wins_over_the_environment() {
    let config = resolve(
        "--datastore file --datastore-path /x",
        &[("ETCD_ENDPOINTS", "http://a:1")],
    )
    .unwrap();
    assert_eq!(config.datastore, DatastoreConfig::File { path: "/x".into() });
}

#[test]
fn etcd_settings_come_from_flags_or_calicos_variables() {
    let env = [
        ("ETCD_ENDPOINTS", "https://a:1"),
        ("ETCD_CA_CERT_FILE", "/ca"),
        ("ETCD_CERT_FILE", "/cert"),
        ("CALICO_ETCD_KEY_FILE", "/key"),
        ("ETCD_USERNAME", "calico"),
        ("ETCD_PASSWORD", "hunter2"),
    ];
    let from_env = etcd(resolve("", &env).unwrap());
    let login = Login {
        username: "calico".into(),
        password: PasswordSource::Value("hunter2".into()),
    };
    assert_eq!(from_env.ca_cert, Some("/ca".into()));
    assert_eq!(
        from_env.client_cert,
        Some(ClientCert {
            cert: "/cert".into(),
            key: "/key".into()
        })
    );
    assert_eq!(from_env.login, Some(login));
    assert!(
        !format!("{from_env:?}").contains("hunter2"),
        "a password in a debug text"
    );

    let flags =
        "--etcd-ca-cert /ca2 --etcd-cert /c2 --etcd-key /k2 --etcd-username me --etcd-password-file /p2";
    let from_flags = etcd(resolve(flags, &env).unwrap());
    let login = Login {
        username: "me".into(),
        password: PasswordSource::File("/p2".into()),
    };
    assert_eq!(from_flags.ca_cert, Some("/ca2".into()));
    assert_eq!(
        from_flags.client_cert,
        Some(ClientCert {
            cert: "/c2".into(),
            key: "/k2".into()
        })
    );
    assert_eq!(from_flags.login, Some(login));
}

#[test]
fn contradictions_are_refused_by_name() {
    let check = |arguments: &str, env: &[(&str, &str)], expected: &str| {
        let error = resolve(arguments, env).unwrap_err();
        assert!(error.contains(expected), "{arguments}: {error}");
    };
    let endpoint = [("ETCD_ENDPOINTS", "http://a:1")];
    check("--datastore etcd", &[], "--etcd-endpoints");
    check(
        "--datastore file --etcd-endpoints http://a:1",
        &[],
        "--etcd-endpoints has no effect with datastore file",
    );
    check(
        "--etcd-username x",
        &[],
        "--etcd-username has no effect with datastore file",
    );
    check(
        "--datastore-path /x",
        &endpoint,
        "--datastore-path has no effect with datastore etcd",
    );
    check("--etcd-endpoints a:1", &[], "\"a:1\"");
    check("--etcd-cert /c", &endpoint, "--etcd-key");
    check("--etcd-username x", &endpoint, "needs a password");
    check("--etcd-password-file /p", &endpoint, "--etcd-username");
    check(
        "",
        &[("DATASTORE_TYPE", "kubernetes")],
        "DATASTORE_TYPE=kubernetes",
    );
    let endpoints = ("ETCD_ENDPOINTS", "http://a:1");
    check(
        "",
        &[("DATASTORE_TYPE", "kubernetes"), endpoints],
        "DATASTORE_TYPE=kubernetes",
    );
    check(
        "",
        &[("ETCD_DISCOVERY_SRV", "example.org"), endpoints],
        "ETCD_DISCOVERY_SRV",
    );
    check(
        "--datastore etcd",
        &[("ETCD_DISCOVERY_SRV", "example.org"), endpoints],
        "ETCD_DISCOVERY_SRV",
    );
    check("", &[("DATASTORE_TYPE", "etcdv3")], "--etcd-endpoints");
    check("", &[("ETCD_DISCOVERY_SRV", "example.org")], "ETCD_DISCOVERY_SRV");
    check("", &[("PIPIT_LOG_FORMAT", "xml")], "\"xml\"");
    check("--datastore consul", &[], "[possible values: etcd, file]");
}

#[test]
fn a_flag_counts_before_what_the_environment_says_of_the_datastore() {
    let around = [
        ("DATASTORE_TYPE", "kubernetes"),
        ("ETCD_DISCOVERY_SRV", "example.org"),
    ];
    let config = resolve("--etcd-endpoints http://a:1", &around).unwrap();
    assert!(matches!(config.datastore, DatastoreConfig::Etcd(_)));
}

#[test]
fn settings_of_tls_that_are_not_honoured_are_told() {
    let endpoint = ("ETCD_ENDPOINTS", "http://a:1");
    let ignored = |variable| resolve("", &[endpoint, variable]).unwrap().ignored;
    assert_eq!(ignored(("TLS_MIN_VERSION", "1.2")), []);
    assert_eq!(
        ignored(("TLS_MIN_VERSION", "1.3")),
        [Ignored::TlsMinVersion { given: "1.3".into() }]
    );
    assert_eq!(ignored(("TLS_CIPHER_SUITES", "x")), [Ignored::TlsCipherSuites]);
}

#[test]
fn half_a_login_in_the_environment_has_no_effect_and_is_told() {
    let endpoint = ("ETCD_ENDPOINTS", "http://a:1");
    let config = resolve("", &[endpoint, ("ETCD_USERNAME", "calico")]).unwrap();
    assert_eq!(config.ignored, [Ignored::UsernameAlone]);
    let config = resolve("", &[endpoint, ("ETCD_PASSWORD", "p")]).unwrap();
    assert_eq!(config.ignored, [Ignored::PasswordAlone]);
    assert_eq!(etcd(config).login, None);
}

#[test]
fn pipits_own_variables_stand_behind_the_flags() {
    let env = [
        ("PIPIT_SOCKET", "/env.sock"),
        ("PIPIT_LOG", "debug"),
        ("PIPIT_LOG_FORMAT", "json"),
    ];
    let config = resolve("", &env).unwrap();
    assert_eq!(
        (config.socket, config.log_level),
        (PathBuf::from("/env.sock"), "debug".to_owned())
    );
    assert_eq!(config.log_format, LogFormat::Json);
    let config = resolve("--socket /flag.sock --log-level trace", &env).unwrap();
    assert_eq!(
        (config.socket, config.log_level),
        (PathBuf::from("/flag.sock"), "trace".to_owned())
    );
}

#[test]
fn the_last_good_state_has_a_file_for_each_node_and_socket() {
    let snapshot = |arguments: &str, env: &[(&str, &str)]| resolve(arguments, env).unwrap().snapshot;
    let etcd = "--node-name n1 --etcd-endpoints http://a:1";
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(snapshot(etcd, &[]), path("/var/lib/pipit/n1.snapshot"));
    assert_eq!(
        snapshot(&format!("{etcd} --state-dir /data"), &[]),
        path("/data/n1.snapshot")
    );
    assert_eq!(
        snapshot(etcd, &[("PIPIT_STATE_DIR", "/env")]),
        path("/env/n1.snapshot")
    );
    let elsewhere = format!("{etcd} --socket /tmp/lab/n1.sock");
    assert_eq!(
        snapshot(&elsewhere, &[]),
        path("/var/lib/pipit/n1@tmp-lab-n1.sock.snapshot")
    );
    assert_eq!(snapshot(&format!("{etcd} --state-dir none"), &[]), None);
    assert_eq!(snapshot("", &[]), None, "manifests are on disk already");
    let error = resolve("--state-dir /data", &[]).unwrap_err();
    assert!(
        error.contains("--state-dir has no effect with datastore file"),
        "{error}"
    );
}

#[test]
fn the_guard_is_on_for_etcd_and_may_be_told_how_long() {
    let hold = |arguments: &str| resolve(arguments, &[]).map(|config| config.guard_hold);
    let etcd = "--etcd-endpoints http://a:1 --mass-withdrawal-guard";
    assert_eq!(hold("--etcd-endpoints http://a:1"), Ok(Some(GUARD_HOLD)));
    assert_eq!(hold(&format!("{etcd} on")), Ok(Some(GUARD_HOLD)));
    assert_eq!(hold(&format!("{etcd} off")), Ok(None));
    assert_eq!(hold(&format!("{etcd} 2m30s")), Ok(Some(Duration::from_secs(150))));
    assert_eq!(hold(""), Ok(None));
    assert_eq!(
        hold("--mass-withdrawal-guard 10s"),
        Ok(Some(Duration::from_secs(10)))
    );
    for bad in ["maybe", "0s", "500ms", "25h", "-5s"] {
        assert!(
            hold(&format!("{etcd}={bad}")).unwrap_err().contains("1s to 24h"),
            "{bad}"
        );
    }
}

#[test]
fn a_route_source_is_an_address_that_others_can_answer_to() {
    let source = |addresses: &str| {
        let resolved = resolve(&format!("--route-source {addresses}"), &[]);
        resolved.map(|config| (config.route_source.ipv4, config.route_source.ipv6))
    };
    let address = |text: &str| text.parse().ok();
    assert_eq!(
        source("192.0.2.1,fd31::1"),
        Ok((address("192.0.2.1"), address("fd31::1")))
    );
    for bad in [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::1",
        "224.0.0.1",
        "ff02::1",
        "fe80::1",
        "n1",
    ] {
        let error = source(&format!("192.0.2.1,{bad}")).unwrap_err();
        assert!(error.contains(bad) && error.contains("address"), "{error}");
    }
}

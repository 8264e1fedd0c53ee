use super::*;

const EXAMPLE: &str = include_str!("../../../packaging/examples/agent.toml");

fn arguments(host: &str) -> RunArguments {
    RunArguments {
        host: Some(host.to_owned()),
        registry: Some("192.0.2.254:7443".to_owned()),
        uplink: Some("up0".to_owned()),
        ..RunArguments::default()
    }
}

/// Settings of a host whose state lies there.
pub(crate) fn settings(state_dir: &Path) -> Settings {
    let given = RunArguments {
        state_dir: Some(state_dir.to_owned()),
        ..arguments("h1")
    };
    Settings::join(given, File::default()).unwrap()
}

#[test]
fn a_flag_counts_more_than_the_file_and_the_file_more_than_the_default() {
    let file = File::parse("host = 'file'\nidle = 7\nrun_dir = '/r'\ntaps = ['vnet*']").unwrap();
    let given = RunArguments {
        idle: Some(9),
        taps: vec!["tap-*".parse().unwrap()],
        ..arguments("flag")
    };
    let settings = Settings::join(given, file).unwrap();
    assert_eq!(settings.host, "flag");
    assert_eq!(settings.idle, Duration::from_secs(9));
    assert_eq!(settings.run_dir, Path::new("/r"));
    assert_eq!(settings.pin_dir, Path::new(PIN_DIR));
    assert_eq!(settings.taps, ["tap-*".parse().unwrap()]);
}

#[test]
fn what_must_be_said_is_asked_for_by_name() {
    for (key, change) in [
        (
            "host",
            RunArguments {
                host: None,
                ..arguments("h1")
            },
        ),
        (
            "registry",
            RunArguments {
                registry: None,
                ..arguments("h1")
            },
        ),
        (
            "uplink",
            RunArguments {
                uplink: None,
                ..arguments("h1")
            },
        ),
    ] {
        let error = Settings::join(change, File::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("--{key}")), "{error}");
    }
}

#[test]
fn half_a_zero_certificate_is_a_mistake_and_the_ca_alone_is_none() {
    let path = |name: &str| Some(PathBuf::from(name));
    assert!(zero(path("ca"), path("cert"), path("key")).unwrap().is_some());
    assert!(zero(path("ca"), None, None).unwrap().is_none());
    assert!(zero(None, None, None).unwrap().is_none());
    for half in [
        zero(path("ca"), path("cert"), None),
        zero(path("ca"), None, path("key")),
        zero(None, path("cert"), path("key")),
    ] {
        assert!(matches!(half, Err(ConfigError::HalfZero)));
    }
}

#[test]
fn every_fault_of_a_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    for (text, line, words) in [
        ("host = 'h1'\nuplnk = 'up0'\n", 2, "uplnk"),
        ("host = 'h1'\n\nidle = 0\n", 3, "between 1 and 86400"),
        ("metrics = 'here'\n", 1, "socket address"),
        (
            "host = 'h1'\ntaps = [\n  'tap-*',\n  '*',\n]\n",
            2,
            "\"*\": at least two",
        ),
        ("host = h1\n", 1, "host"),
        ("xdp_guard = true\n", 1, "xdp_guard"),
        ("host = 'h1'\nxdp_guard = 'native'\n", 2, "auto"),
        ("host = 'h1'\nregistry = 'https://r'\n", 2, "HOST[:PORT]"),
        ("host = 'h1'\nhost = 'h2'\n", 2, "duplicate"),
    ] {
        fs::write(&path, text).unwrap();
        let given = RunArguments {
            config: Some(path.clone()),
            ..RunArguments::default()
        };
        let error = Settings::resolve(given).unwrap_err().to_string();
        assert!(error.contains("agent.toml"), "{error}");
        assert!(error.contains(&format!("line {line}")), "{text:?}: {error}");
        assert!(error.contains(words), "{text:?}: {error}");
    }
    let gone = RunArguments {
        config: Some(folder.path().join("none.toml")),
        ..RunArguments::default()
    };
    assert!(matches!(Settings::resolve(gone), Err(ConfigError::Read { .. })));
}

/// The example with every `# key = value` made to count.
fn with_everything() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_key(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn the_example_says_everything_that_can_be_said_and_shows_the_defaults() {
    let as_shipped = File::parse(EXAMPLE).unwrap();
    let settings = Settings::join(RunArguments::default(), as_shipped).unwrap();
    let all = File::parse(&with_everything()).unwrap();
    let File {
        host,
        registry,
        uplink,
        state_dir,
        run_dir,
        pin_dir,
        authority,
        zero_cert,
        zero_key,
        metrics,
        idle,
        taps,
        xdp_guard,
    } = all;
    // What has a default is shown with it, commented out; what has none is to be filled in.
    assert_eq!(state_dir.as_deref(), Some(Path::new(STATE_DIR)));
    assert_eq!(run_dir.as_deref(), Some(Path::new(RUN_DIR)));
    assert_eq!(pin_dir.as_deref(), Some(Path::new(PIN_DIR)));
    assert_eq!(metrics, Some(METRICS));
    assert_eq!(idle, Some(IdleSecs(IDLE_SECS)));
    assert!(taps.is_some(), "the example does not show taps");
    assert_eq!(xdp_guard, Some(Choice::default()));
    assert_eq!(host.as_ref(), Some(&settings.host));
    assert_eq!(registry.as_ref(), Some(&settings.registry));
    assert_eq!(uplink.as_ref(), Some(&settings.uplink));
    let zero = settings.zero.expect("a first start needs to enrol");
    assert_eq!(authority, Some(zero.authority));
    assert_eq!((zero_cert, zero_key), (Some(zero.certificate), Some(zero.key)));
    assert_eq!(settings.idle, Duration::from_secs(IDLE_SECS));
    assert!(settings.taps.is_empty(), "adopting is on by default");
}

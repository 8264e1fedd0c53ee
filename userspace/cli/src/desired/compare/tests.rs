use super::*;
use crate::arguments::Name;
use pairgate_api::rest::Placement;
use proptest::prelude::*;
use uuid::Uuid;

const SITE: &str = r#"
[[network]]
name = "default"
prefixes = ["10.77.0.0/24"]

[[vm]]
name = "web1"
address = "10.77.0.11"
host = "h1"

[[vm]]
name = "db1"

[[pair]]
between = ["web1", "db1"]
"#;

fn wanted(text: &str) -> Wanted {
    let default: Name = "default".parse().unwrap();
    Wanted::parse(text, &default).unwrap()
}

fn network(name: &str, prefixes: &[&str]) -> Network {
    Network {
        id: Uuid::nil(),
        name: name.to_owned(),
        prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        mtu: 1500,
    }
}

fn host(name: &str) -> Host {
    Host {
        id: Uuid::nil(),
        name: name.to_owned(),
        address: [192, 0, 2, 1].into(),
        agent_port: 7444,
        overlay_port: 4789,
        state: "enrolled".to_owned(),
        connected: true,
        applied_revision: None,
        lease_ends_unix_ms: None,
    }
}

/// Does to the known state what the registry does for a step.
fn carry_out(known: &mut Known, step: &Step) {
    match step.clone() {
        Step::CreateNetwork {
            network: name,
            prefixes,
        } => {
            let mut made = network(&name, &[]);
            made.prefixes = prefixes;
            known.networks.push(made);
        }
        Step::CreateVm {
            network,
            vm,
            address,
            mac,
        } => {
            known.vms.entry(network.clone()).or_default().push(Vm {
                id: Uuid::nil(),
                name: vm,
                network,
                address: address.unwrap_or([10, 77, 0, 99].into()),
                prefix: 24,
                mac: mac.unwrap_or_default().to_lowercase(),
                mtu: 1500,
                placement: None,
            });
        }
        Step::PlaceVm {
            network, vm, host, ..
        } => {
            let vms = known.vms.get_mut(&network).unwrap();
            let vm = vms.iter_mut().find(|there| there.name == vm).unwrap();
            vm.placement = Some(Placement {
                host,
                generation: 1,
                tap: String::new(),
                state: "open".to_owned(),
            });
        }
        Step::AllowPair {
            network,
            between: [one, other],
            ..
        } => {
            let pairs = known.pairs.entry(network).or_default();
            pairs.retain(|pair| unordered(&pair.source, &pair.destination) != unordered(&one, &other));
            for (source, destination) in [(&one, &other), (&other, &one)] {
                pairs.push(Pair {
                    id: 1,
                    source: source.clone(),
                    destination: destination.clone(),
                    grant: ALL.to_owned(),
                    since_unix_ms: 0,
                });
            }
        }
        Step::DenyPair {
            network,
            between: [one, other],
        } => {
            let pairs = known.pairs.get_mut(&network).unwrap();
            pairs.retain(|pair| unordered(&pair.source, &pair.destination) != unordered(&one, &other));
        }
    }
}

fn applied(text: &str, mut known: Known) -> Known {
    for step in compare(&wanted(text), &known, false).unwrap().steps {
        carry_out(&mut known, &step);
    }
    known
}

fn with_h1() -> Known {
    Known {
        hosts: vec![host("h1")],
        ..Known::default()
    }
}

#[test]
fn an_empty_registry_gets_everything_in_an_order_that_works_and_then_nothing_differs() {
    let plan = compare(&wanted(SITE), &with_h1(), false).unwrap();
    assert_eq!(
        plan.describe().lines().collect::<Vec<_>>(),
        [
            "+ network default: 10.77.0.0/24",
            "+ VM web1 in default, address 10.77.0.11",
            "+ VM db1 in default",
            "+ placement of VM web1 in default: h1",
            "+ pair web1 <-> db1 in default",
        ]
    );
    let known = applied(SITE, with_h1());
    assert!(compare(&wanted(SITE), &known, true).unwrap().is_empty());
}

#[test]
fn what_the_file_does_not_mention_stays_unless_told_and_then_only_pairs_of_its_networks_go() {
    let mut known = applied(SITE, with_h1());
    known.networks.push(network("blue", &["10.0.0.0/8"]));
    for (place, name) in [("default", "extra"), ("blue", "far")] {
        carry_out(
            &mut known,
            &Step::CreateVm {
                network: place.into(),
                vm: name.into(),
                address: None,
                mac: None,
            },
        );
    }
    for (place, between) in [("default", ["extra", "db1"]), ("default", ["web1", "extra"])] {
        carry_out(
            &mut known,
            &Step::AllowPair {
                network: place.into(),
                between: between.map(str::to_owned),
                instead_of: None,
            },
        );
    }
    assert!(compare(&wanted(SITE), &known, false).unwrap().is_empty());
    let plan = compare(&wanted(SITE), &known, true).unwrap();
    assert_eq!(
        plan.describe().lines().collect::<Vec<_>>(),
        [
            "- pair db1 <-> extra in default",
            "- pair extra <-> web1 in default"
        ]
    );
}

#[test]
fn a_vm_that_is_placed_where_the_file_says_is_not_placed_again() {
    let mut known = applied(SITE, with_h1());
    known.hosts.push(host("h2"));
    let moved = SITE.replace("\"h1\"", "\"h2\"");
    let plan = compare(&wanted(&moved), &known, false).unwrap();
    assert_eq!(plan.describe(), "~ placement of VM web1 in default: h1 -> h2");
    // A file that does not say where leaves the placement to others.
    let silent = SITE.replace("host = \"h1\"", "");
    assert!(compare(&wanted(&silent), &known, false).unwrap().is_empty());
}

#[test]
fn half_a_pair_or_a_narrower_one_is_allowed_in_full() {
    let mut known = applied(SITE, with_h1());
    known.pairs.get_mut("default").unwrap()[0].grant = "tcp/443".to_owned();
    let plan = compare(&wanted(SITE), &known, false).unwrap();
    assert_eq!(
        plan.describe(),
        "~ pair web1 <-> db1 in default: tcp/443, all -> all"
    );
    known.pairs.get_mut("default").unwrap().truncate(1);
    assert_eq!(compare(&wanted(SITE), &known, false).unwrap().steps.len(), 1);
}

#[test]
fn what_cannot_be_changed_is_a_conflict_and_no_step() {
    let known = applied(SITE, with_h1());
    for (from, to, line, words) in [
        ("10.77.0.0/24", "10.78.0.0/24", 3, "a network keeps its prefixes"),
        ("10.77.0.11", "10.77.0.12", 7, "a VM keeps its address"),
        (
            "host = \"h1\"",
            "mac = \"02:00:00:00:00:01\"",
            7,
            "a VM keeps its MAC address",
        ),
    ] {
        let plan = compare(&wanted(&SITE.replace(from, to)), &known, false).unwrap();
        assert!(plan.steps.is_empty() && !plan.is_empty(), "{plan:?}");
        assert_eq!(plan.conflicts[0].line, line, "{plan:?}");
        assert!(plan.conflicts[0].what.contains(words), "{plan:?}");
    }
}

#[test]
fn the_spelling_of_a_mac_address_is_no_difference() {
    let site = SITE.replace("host = \"h1\"", "mac = \"02:00:00:00:00:0A\"");
    let known = applied(&site, with_h1());
    assert!(compare(&wanted(&site), &known, false).unwrap().is_empty());
}

#[test]
fn names_that_stand_for_nothing_are_all_told_with_their_lines() {
    let text = "[[vm]]\nname = \"a\"\nhost = \"h9\"\n\n[[vm]]\nname = \"b\"\nnetwork = \"blue\"\n\n\
                [[pair]]\nbetween = [\"a\", \"zz\"]\n\n[[pair]]\nnetwork = \"red\"\nbetween = [\"a\", \"b\"]";
    let mut known = with_h1();
    known.networks.push(network("default", &[]));
    let faults = compare(&wanted(text), &known, false).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(told, [2, 6, 10, 14], "{faults:?}");
    for (fault, word) in faults.iter().zip(["h9", "blue", "zz", "red"]) {
        assert!(fault.text.contains(word), "{fault:?}");
    }
}

proptest! {
    /// Whatever was there, a file that was applied is the same as the registry, and nothing else was touched.
    #[test]
    fn applied_once_nothing_differs(
        before in prop::collection::vec((0_usize..5, 0_usize..5), 0..8),
        listed in prop::collection::btree_set((0_usize..5, 0_usize..5), 0..8),
        prune: bool,
    ) {
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
        let mut known = with_h1();
        known.networks.push(network("default", &[]));
        known.vms.insert("default".into(), Vec::new());
        known.pairs.insert("default".into(), Vec::new());
        for name in NAMES {
            carry_out(&mut known, &Step::CreateVm { network: "default".into(), vm: name.into(), address: None, mac: None });
        }
        let allow = |(one, other): (usize, usize)| Step::AllowPair {
            network: "default".into(),
            between: [NAMES[one].into(), NAMES[other].into()],
            instead_of: None,
        };
        for pair in before.iter().filter(|(one, other)| one != other) {
            carry_out(&mut known, &allow(*pair));
        }
        let count_before = known.pairs["default"].len();
        let mut text = String::from("[[network]]\nname = \"default\"\nprefixes = []\n");
        for (one, other) in listed.iter().filter(|(one, other)| one < other) {
            text.push_str(&format!("[[pair]]\nbetween = [\"{}\", \"{}\"]\n", NAMES[*one], NAMES[*other]));
        }
        let wanted = wanted(&text);
        let plan = compare(&wanted, &known, prune).unwrap();
        for step in &plan.steps {
            carry_out(&mut known, step);
        }
        prop_assert!(compare(&wanted, &known, prune).unwrap().is_empty());
        if prune {
            prop_assert_eq!(known.pairs["default"].len(), wanted.pairs.len() * 2);
        } else {
            prop_assert!(known.pairs["default"].len() >= count_before);
            let opens = |step: &Step| matches!(step, Step::AllowPair { .. });
            prop_assert!(plan.steps.iter().all(opens));
        }
    }
}

use super::*;
use crate::arguments::Name;
use pairgate_api::rest::{Address, Placement};
use proptest::prelude::*;
use uuid::Uuid;

const SITE: &str = r#"
[[network]]
name = "default"
prefixes = ["10.77.0.0/24"]

[[vm]]
name = "web1"
addresses = ["10.77.0.11", "fd77::11"]
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
        gateway: None,
        dns: Vec::new(),
        domain: None,
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

fn tell(network: &mut Network, told: NetworkChange) {
    network.gateway = told.gateway.or(network.gateway);
    network.mtu = told.mtu.unwrap_or(network.mtu);
    network.dns = told.dns.unwrap_or_else(|| network.dns.clone());
    if let Some(domain) = told.domain {
        network.domain = Some(domain).filter(|domain| !domain.is_empty());
    }
}

#[test]
fn what_guests_are_told_is_set_where_the_file_says_it_and_only_where_it_differs() {
    let text = SITE.replace(
        "[[vm]]\nname = \"web1\"",
        "gateway = \"10.77.0.9\"\ndns = [\"192.0.2.53\", \"192.0.2.54\"]\ndomain = \"Corp.Example\"\n\n[[vm]]\nname = \"web1\"",
    );
    let mut known = Known {
        networks: vec![Network {
            mtu: 9000,
            dns: vec![[192, 0, 2, 54].into(), [192, 0, 2, 53].into()],
            domain: Some("corp.example".to_owned()),
            ..network("default", &["10.77.0.0/24"])
        }],
        hosts: vec![host("h1")],
        ..Known::default()
    };
    let said = |plan: &Plan| plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    let plan = compare(&wanted(&text), &known, false).unwrap();
    let expected = "~ network default: gateway 10.77.0.9, DNS 192.0.2.53, 192.0.2.54";
    assert_eq!(said(&plan)[0], expected, "order counts, letters' case does not");
    for step in &plan.steps {
        carry_out(&mut known, step);
    }
    assert_eq!(known.networks[0].mtu, 9000, "what the file leaves out changed");
    let plan = compare(&wanted(&text), &known, false).unwrap();
    assert!(plan.is_empty(), "{}", plan.describe());

    let nothing = text.replace("[\"192.0.2.53\", \"192.0.2.54\"]", "[]");
    let nothing = nothing.replace("Corp.Example", "");
    let plan = compare(&wanted(&nothing), &known, false).unwrap();
    assert_eq!(said(&plan), ["~ network default: no DNS server, no domain"]);
}

/// Does to the known state what the registry does for a step.
fn carry_out(known: &mut Known, step: &Step) {
    match step.clone() {
        Step::CreateNetwork {
            network: name,
            prefixes,
            told,
        } => {
            let mut made = network(&name, &[]);
            made.prefixes = prefixes;
            tell(&mut made, told);
            known.networks.push(made);
        }
        Step::SetNetwork { network: name, told } => {
            let there = known.networks.iter_mut().find(|network| network.name == name);
            tell(there.unwrap(), told);
        }
        Step::CreateVm {
            network,
            vm,
            addresses,
            mac,
        } => {
            known.vms.entry(network.clone()).or_default().push(Vm {
                id: Uuid::nil(),
                name: vm,
                network,
                addresses: addresses
                    .into_iter()
                    .map(|address| Address { address, prefix: 24 })
                    .collect(),
                mac: mac.unwrap_or_default().to_lowercase(),
                mtu: 1500,
                placement: None,
            });
        }
        Step::SetAddresses {
            network,
            vm,
            addresses,
            ..
        } => {
            let vms = known.vms.get_mut(&network).unwrap();
            let vm = vms.iter_mut().find(|there| there.name == vm).unwrap();
            vm.addresses = addresses
                .into_iter()
                .map(|address| Address { address, prefix: 24 })
                .collect();
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
            grant,
            one_way,
            instead_of: _,
        } => {
            let pairs = known.pairs.entry(network).or_default();
            pairs.retain(|pair| unordered(&pair.source, &pair.destination) != unordered(&one, &other));
            let back = if one_way {
                REPLIES.to_owned()
            } else {
                grant.clone()
            };
            for (source, destination, grant) in [(&one, &other, grant), (&other, &one, back)] {
                pairs.push(Pair {
                    id: 1,
                    source: source.clone(),
                    destination: destination.clone(),
                    grant,
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
            "+ VM web1 in default, address 10.77.0.11, address fd77::11",
            "+ VM db1 in default",
            "+ placement of VM web1 in default: h1",
            "+ pair web1 <-> db1 in default: all",
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
                addresses: Vec::new(),
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
                grant: "all".to_owned(),
                one_way: false,
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
fn half_a_pair_and_one_that_carries_something_else_is_allowed_anew() {
    let mut known = applied(SITE, with_h1());
    known.pairs.get_mut("default").unwrap()[0].grant = "tcp/443".to_owned();
    let plan = compare(&wanted(SITE), &known, false).unwrap();
    assert_eq!(
        plan.describe(),
        "~ pair web1 <-> db1 in default: all, instead of web1 -> db1 tcp/443, db1 -> web1 all"
    );
    known.pairs.get_mut("default").unwrap().truncate(1);
    let plan = compare(&wanted(SITE), &known, false).unwrap();
    assert_eq!(
        plan.describe(),
        "~ pair web1 <-> db1 in default: all, instead of web1 -> db1 tcp/443, db1 -> web1 nothing"
    );
}

#[test]
fn a_grant_and_a_way_are_compared_by_what_they_mean() {
    let site = |grant: &str| SITE.replace("[\"web1\", \"db1\"]", &format!("[\"web1\", \"db1\"]\n{grant}"));
    let narrow = site("grant = [\"udp/53\", \"tcp/443\"]\none_way = true");
    let known = applied(SITE, with_h1());
    let plan = compare(&wanted(&narrow), &known, false).unwrap();
    assert_eq!(
        plan.describe(),
        "~ pair web1 -> db1 in default: tcp/443,udp/53, instead of all"
    );
    let known = applied(&narrow, known);
    for same in [
        "grant = [\"tcp/443\", \"udp/53\"]\none_way = true",
        "one_way = true\ngrant = [\"tcp/443\", \"udp/53\", \"tcp/443\"]",
    ] {
        assert!(
            compare(&wanted(&site(same)), &known, true).unwrap().is_empty(),
            "{same}"
        );
    }
    // The other way round it is another pair of permissions, although both files name the same two VMs.
    let turned = narrow.replace("[\"web1\", \"db1\"]", "[\"db1\", \"web1\"]");
    assert_eq!(
        compare(&wanted(&turned), &known, false).unwrap().describe(),
        "~ pair db1 -> web1 in default: tcp/443,udp/53, instead of db1 -> web1 replies, web1 -> db1 tcp/443,udp/53"
    );
}

#[test]
fn what_cannot_be_changed_is_a_conflict_and_no_step() {
    let known = applied(SITE, with_h1());
    for (from, to, line, words) in [
        ("10.77.0.0/24", "10.78.0.0/24", 3, "a network keeps its prefixes"),
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
fn other_addresses_are_a_step_before_every_new_vm_and_their_order_is_no_difference() {
    let known = applied(SITE, with_h1());
    let turned = SITE.replace(
        "[\"10.77.0.11\", \"fd77::11\"]",
        "[\"fd77:0::11\", \"10.77.0.11\"]",
    );
    assert!(compare(&wanted(&turned), &known, false).unwrap().is_empty());
    let heir = "[[vm]]\nname = \"heir\"\naddresses = [\"fd77::11\"]\n";
    let moved = format!("{heir}{}", SITE.replace(", \"fd77::11\"", ", \"fd77::12\""));
    assert_eq!(
        compare(&wanted(&moved), &known, false).unwrap().describe(),
        "~ addresses of VM web1 in default: 10.77.0.11, fd77::12, instead of 10.77.0.11, fd77::11\n\
         + VM heir in default, address fd77::11"
    );
    let known = applied(&moved, known);
    assert!(compare(&wanted(&moved), &known, true).unwrap().is_empty());
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
            carry_out(&mut known, &Step::CreateVm { network: "default".into(), vm: name.into(), addresses: Vec::new(), mac: None });
        }
        let allow = |(one, other): (usize, usize)| Step::AllowPair {
            network: "default".into(),
            between: [NAMES[one].into(), NAMES[other].into()],
            grant: "all".to_owned(),
            one_way: false,
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

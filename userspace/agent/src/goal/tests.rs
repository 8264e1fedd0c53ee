use super::*;
use pairgate_token::address_bytes;

fn own(address: &str, prefix: u32) -> grpc::Address {
    grpc::Address {
        address: address_bytes(address.parse().unwrap()).to_vec(),
        prefix,
    }
}

fn vm(name: &str) -> grpc::Vm {
    grpc::Vm {
        id: Uuid::new_v4().into_bytes().to_vec(),
        name: name.to_owned(),
        network_id: Uuid::new_v4().into_bytes().to_vec(),
        network: "default".to_owned(),
        mac: vec![2, 0, 0, 0, 0, 1],
        addresses: vec![own("10.77.0.11", 24), own("fd77::11", 64)],
        mtu: 1450,
        generation: 1,
        secret_key: vec![7; 32],
        tap: format!("tap-{name}"),
        configuration: None,
    }
}

fn state(vms: Vec<grpc::Vm>, dead: Vec<Option<grpc::tombstone::Dead>>) -> grpc::GoalState {
    grpc::GoalState {
        revision: 5,
        vms,
        tombstones: dead.into_iter().map(|dead| grpc::Tombstone { dead }).collect(),
    }
}

#[test]
fn a_guest_has_addresses_of_both_families_with_prefixes_in_bits_of_their_own() {
    let goal = Goal::read(state(vec![vm("web1")], vec![])).unwrap();
    let guest = goal.guests.values().next().unwrap();
    let prefixes: Vec<_> = guest.addresses.iter().map(|own| own.prefix).collect();
    assert_eq!(prefixes, [24, 64]);
    assert!(guest.owns("10.77.0.11".parse().unwrap()) && guest.owns("fd77::11".parse().unwrap()));
    assert!(!guest.owns("fd77::12".parse().unwrap()));
}

#[test]
fn a_guest_that_cannot_be_served_does_not_hold_up_the_others_or_the_dead() {
    type Change = fn(&mut grpc::Vm);
    let cases: [(GuestError, Change); 7] = [
        (GuestError::Addresses(0), |vm| vm.addresses.clear()),
        (GuestError::Addresses(9), |vm| {
            vm.addresses = (1..=9).map(|last| own(&format!("fd77::{last}"), 64)).collect();
        }),
        (GuestError::Field("address"), |vm| {
            vm.addresses.push(own("fd77::11", 80))
        }),
        (GuestError::Field("address"), |vm| {
            vm.addresses[0] = own("ff02::1", 64)
        }),
        (GuestError::Field("address"), |vm| {
            vm.addresses[0].address.truncate(4)
        }),
        (GuestError::Field("prefix"), |vm| vm.addresses[0].prefix = 33),
        (GuestError::Field("MAC address"), |vm| vm.mac[0] = 1),
    ];
    for (why, change) in cases {
        let mut wrong = vm("wrong");
        change(&mut wrong);
        let dead = vec![Some(grpc::tombstone::Dead::PairId(9))];
        let goal = Goal::read(state(vec![vm("web1"), wrong], dead)).unwrap();
        assert_eq!(goal.guests.len(), 1, "{why}");
        assert_eq!(goal.left_out[0].why, why);
        assert!(goal.tombstones.pairs.contains(&9));
    }
}

#[test]
fn a_tombstone_that_cannot_be_read_makes_the_message_unusable() {
    let unknown = state(vec![vm("web1")], vec![None]);
    assert_eq!(
        Goal::read(unknown).unwrap_err(),
        GoalError::Tombstone {
            index: 0,
            revision: 5
        }
    );
    let short = grpc::tombstone::Dead::HostId(vec![1; 15]);
    assert!(Goal::read(state(vec![], vec![Some(short)])).is_err());
}

#[test]
fn two_guests_never_share_a_tap() {
    let (mut one, two) = (vm("web1"), vm("web2"));
    one.tap.clone_from(&two.tap);
    assert!(matches!(
        Goal::read(state(vec![one, two], vec![])),
        Err(GoalError::SharedTap { .. })
    ));
}

#[test]
fn the_highest_floor_of_a_vm_holds() {
    let id = Uuid::new_v4();
    let floor = |generation| {
        let vm_id = id.into_bytes().to_vec();
        Some(grpc::tombstone::Dead::VmFloor(grpc::VmFloor {
            vm_id,
            generation,
        }))
    };
    let goal = Goal::read(state(vec![], vec![floor(3), floor(7), floor(2)])).unwrap();
    assert!(goal.tombstones.buries(id, 6));
    assert!(!goal.tombstones.buries(id, 7));
    assert!(!goal.tombstones.buries(Uuid::new_v4(), 1));
}

#[test]
fn a_goal_prints_without_its_keys() {
    let mut secret = vm("web1");
    secret.secret_key = vec![0xab; 32];
    let text = format!("{:?}", Goal::read(state(vec![secret], vec![])).unwrap());
    assert!(!text.contains("171, 171") && !text.contains("abab"), "{text}");
}

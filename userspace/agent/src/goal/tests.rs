use super::*;
use pairgate_token::address_bytes;

fn vm(name: &str) -> grpc::Vm {
    grpc::Vm {
        id: Uuid::new_v4().into_bytes().to_vec(),
        name: name.to_owned(),
        network_id: Uuid::new_v4().into_bytes().to_vec(),
        network: "default".to_owned(),
        mac: vec![2, 0, 0, 0, 0, 1],
        address: address_bytes("10.77.0.11".parse().unwrap()).to_vec(),
        prefix: 24,
        mtu: 1450,
        generation: 1,
        secret_key: vec![7; 32],
        tap: format!("tap-{name}"),
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
fn a_guest_that_cannot_be_served_does_not_hold_up_the_others_or_the_dead() {
    let mut six = vm("six");
    six.address = address_bytes("fd77::11".parse().unwrap()).to_vec();
    let mut group = vm("group");
    group.mac[0] = 1;
    let dead = vec![Some(grpc::tombstone::Dead::PairId(9))];
    let goal = Goal::read(state(vec![vm("web1"), six, group], dead)).unwrap();
    assert_eq!(goal.guests.len(), 1);
    let why: Vec<_> = goal.left_out.iter().map(|out| out.why.clone()).collect();
    assert_eq!(why, [GuestError::Ipv6, GuestError::Field("MAC address")]);
    assert!(goal.tombstones.pairs.contains(&9));
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
    assert!(!text.contains("171"), "{text}");
}

//! Stores of earlier versions: what they hold must be there afterwards, and mean the same.

use super::*;
use rusqlite::params;
use std::net::Ipv4Addr;

#[tokio::test]
async fn guests_of_a_store_of_before_are_told_what_they_were_told() {
    let bench = Bench::unsealed();
    let store = bench.open().unwrap();
    let networks = store.read(|view| view.list_networks("", 10)).await.unwrap();
    for network in &networks {
        assert_eq!(network.facts, Facts::of(&network.prefixes));
        assert_eq!(network.facts.gateway, Some([10, 0, 0, 1].into()));
    }
    assert_eq!(networks.len(), 1);
}

#[tokio::test]
async fn vms_and_pairs_of_a_store_of_before_keep_their_addresses_ids_and_references() {
    let bench = Bench::unsealed();
    let [one, two] = [1, 2].map(Uuid::from_u128);
    let old = rusqlite::Connection::open(bench.path()).unwrap();
    old.execute(
        "INSERT INTO vm (id, network, name, address, mac, generation)
         SELECT ?1, network, 'vm2', x'00000000000000000000ffff0a000002', x'020000000002', 0 FROM vm",
        params![two.as_bytes()],
    )
    .unwrap();
    old.execute(
        "INSERT INTO pair (id, source, destination, since_unix_ms) VALUES (7, ?1, ?2, 5)",
        params![one.as_bytes(), two.as_bytes()],
    )
    .unwrap();
    drop(old);

    let store = bench.open().unwrap();
    let (vm, pair) = store
        .read(move |view| Ok::<_, StoreError>((view.show_vm(one)?, view.pair(one, two)?)))
        .await
        .unwrap();
    let vm = vm.unwrap();
    assert_eq!(vm.addresses.len(), 1);
    assert_eq!(vm.addresses[0].address, Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(
        (vm.addresses[0].prefix, vm.placement.unwrap().generation),
        (24, 1)
    );
    let pair = pair.unwrap();
    assert_eq!((pair.id, &pair.carries), (7, &everything()));
    let next = store
        .change(move |change| change.allow(Actor::Registry, two, one, everything()))
        .await
        .unwrap();
    assert!(next.id > 7, "no id is used twice, across layouts too");
    let dangling = store
        .change(move |change| {
            let nobody = Uuid::from_u128(99);
            change.allow(Actor::Registry, nobody, one, everything())
        })
        .await;
    assert!(dangling.is_err(), "references are checked again");
}

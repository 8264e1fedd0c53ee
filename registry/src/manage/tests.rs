//! Everything that operators do to VMs and pairs, in any order, against a model of what should be.

use super::{AddressesError, AllowError, CreateVmError, Expected, FindError, ReaddressError, RemoveVmError};
use crate::{
    Registry,
    audit::Actor,
    authority::ServerAddress,
    init::init,
    inventory::Carries,
    settings::Settings,
    store::{Goal, StoreError},
};
use pairgate_api::rest;
use pairgate_token::Grants;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const HOSTS: [&str; 2] = ["h1", "h2"];
const GRANTS: [&str; 3] = ["all", "tcp/443", "icmp"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize, u8),
    Remove(usize),
    Readdress(usize, u8),
    Place(usize, usize),
    Allow(usize, usize, usize, bool),
    Deny(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let vm = 0..NAMES.len();
    prop_oneof![
        3 => (vm.clone(), 2u8..7).prop_map(|(vm, last)| Step::Create(vm, last)),
        1 => vm.clone().prop_map(Step::Remove),
        2 => (vm.clone(), 2u8..7).prop_map(|(vm, last)| Step::Readdress(vm, last)),
        2 => (vm.clone(), 0..HOSTS.len()).prop_map(|(vm, host)| Step::Place(vm, host)),
        6 => (vm.clone(), vm.clone(), 0..GRANTS.len(), any::<bool>())
            .prop_map(|(one, other, grant, one_way)| Step::Allow(one, other, grant, one_way)),
        2 => (vm.clone(), vm).prop_map(|(one, other)| Step::Deny(one, other)),
    ]
}

#[derive(Clone, Debug)]
struct ModelVm {
    id: Uuid,
    address: u8,
    generation: u32,
    host: Option<usize>,
}

/// What there should be.
#[derive(Debug, Default)]
struct Model {
    vms: BTreeMap<usize, ModelVm>,
    pairs: BTreeMap<(usize, usize), (u64, String)>,
    dead: BTreeSet<u64>,
    /// Below these, everything of a VM is dead.
    floors: BTreeMap<Uuid, u32>,
    newest_pair: u64,
}

impl Model {
    fn has_address(&self, last: u8) -> bool {
        self.vms.values().any(|vm| vm.address == last)
    }

    fn end(&mut self, way: (usize, usize)) -> Option<String> {
        let (id, carries) = self.pairs.remove(&way)?;
        self.dead.insert(id);
        Some(carries)
    }

    /// Every pair of the VM, in the order of ids, as the registry goes through them.
    fn ways_of(&self, vm: usize) -> Vec<(usize, usize)> {
        let mut ways: Vec<_> = self
            .pairs
            .iter()
            .filter(|((one, other), _)| *one == vm || *other == vm)
            .collect();
        ways.sort_by_key(|(_, (id, _))| *id);
        ways.into_iter().map(|(way, _)| *way).collect()
    }

    fn begin(&mut self, way: (usize, usize), carries: String) {
        self.newest_pair += 1;
        self.pairs.insert(way, (self.newest_pair, carries));
    }

    fn burn(&mut self, vm: usize, host: usize) {
        let placed = self.vms.get_mut(&vm).unwrap();
        placed.generation += 1;
        placed.host = Some(host);
        if placed.generation > 1 {
            self.floors.insert(placed.id, placed.generation);
        }
    }
}

struct Bench {
    registry: Arc<Registry>,
    hosts: [Uuid; 2],
    model: Model,
    _directory: TempDir,
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn name(vm: usize) -> String {
    NAMES[vm].to_owned()
}

fn network() -> String {
    "n".to_owned()
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        init(&state, &["127.0.0.1".parse::<ServerAddress>().unwrap()]).unwrap();
        let settings = Settings::new(3_600, 3_600).unwrap();
        let registry = Registry::open(&state, None, settings, CancellationToken::new())
            .await
            .unwrap();
        let made = rest::NewNetwork {
            name: network(),
            prefixes: vec!["10.0.0.0/28".to_owned()],
            ..rest::NewNetwork::default()
        };
        registry.create_network(Actor::Registry, made).await.unwrap();
        let mut hosts = [Uuid::nil(); 2];
        for (number, host) in (1u8..).zip(&mut hosts) {
            let new = rest::NewHost {
                name: format!("h{number}"),
                address: [192, 0, 2, number].into(),
                agent_port: None,
                overlay_port: None,
            };
            *host = registry.create_host(Actor::Registry, new).await.unwrap().id;
        }
        Self {
            registry,
            hosts,
            model: Model::default(),
            _directory: directory,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Create(vm, last) => self.create(vm, last).await,
            Step::Remove(vm) => self.remove(vm).await,
            Step::Readdress(vm, last) => self.readdress(vm, last).await,
            Step::Place(vm, host) => self.place(vm, host).await,
            Step::Allow(one, other, grant, one_way) => self.allow([one, other], GRANTS[grant], one_way).await,
            Step::Deny(one, other) => self.deny([one, other]).await,
        }
    }

    async fn create(&mut self, vm: usize, last: u8) {
        let new = rest::NewVm {
            name: name(vm),
            addresses: vec![address(last)],
            mac: None,
        };
        let made = self.registry.create_vm(Actor::Registry, network(), new).await;
        if self.model.vms.contains_key(&vm) {
            assert!(matches!(made, Err(CreateVmError::NameTaken { .. })), "{made:?}");
        } else if self.model.has_address(last) {
            let taken = matches!(made, Err(CreateVmError::Addresses(AddressesError::Taken(_))));
            assert!(taken, "{made:?}");
        } else {
            let made = ModelVm {
                id: made.unwrap().id,
                address: last,
                generation: 0,
                host: None,
            };
            self.model.vms.insert(vm, made);
        }
    }

    async fn remove(&mut self, vm: usize) {
        let removing = self
            .registry
            .remove_vm(Actor::Registry, network(), name(vm), 0, Expected::anything());
        let removed = removing.await;
        let ways = self.model.ways_of(vm);
        let Some(gone) = self.model.vms.remove(&vm) else {
            assert!(
                matches!(removed, Err(RemoveVmError::Find(FindError::Vm { .. }))),
                "{removed:?}"
            );
            return;
        };
        // A host without lease can do nothing, so nobody has to be waited for here.
        let removed = removed.unwrap();
        assert!(
            removed.applied && removed.directions.len() == ways.len(),
            "{removed:?}"
        );
        for way in ways {
            self.model.end(way);
        }
        if gone.generation > 0 {
            self.model.floors.insert(gone.id, gone.generation + 1);
        }
    }

    async fn readdress(&mut self, vm: usize, last: u8) {
        let new = rest::NewAddresses {
            addresses: vec![address(last)],
            timeout_ms: 0,
        };
        let setting =
            self.registry
                .set_addresses(Actor::Registry, network(), name(vm), new, Expected::anything());
        let set = setting.await;
        let Some(there) = self.model.vms.get(&vm).cloned() else {
            assert!(
                matches!(set, Err(ReaddressError::Find(FindError::Vm { .. }))),
                "{set:?}"
            );
            return;
        };
        if there.address == last {
            assert!(
                set.unwrap().ended.directions.is_empty(),
                "nothing ends with the same address"
            );
            return;
        }
        if self.model.has_address(last) {
            assert!(
                matches!(set, Err(ReaddressError::Addresses(AddressesError::Taken(_)))),
                "{set:?}"
            );
            return;
        }
        assert_eq!(set.unwrap().ended.directions.len(), self.model.ways_of(vm).len());
        self.model.vms.get_mut(&vm).unwrap().address = last;
        for way in self.model.ways_of(vm) {
            let carries = self.model.end(way).unwrap();
            self.model.begin(way, carries);
        }
        if let Some(host) = there.host {
            self.model.burn(vm, host);
        }
    }

    async fn place(&mut self, vm: usize, host: usize) {
        let new = rest::NewPlacement {
            host: HOSTS[host].to_owned(),
        };
        let placed = self
            .registry
            .place_vm(Actor::Registry, network(), name(vm), new, Expected::anything());
        let placed = placed.await;
        if self.model.vms.contains_key(&vm) {
            assert_eq!(
                placed.unwrap().placement.unwrap().state,
                "open",
                "nobody holds a lease"
            );
            self.model.burn(vm, host);
        } else {
            assert!(placed.is_err());
        }
    }

    async fn allow(&mut self, [one, other]: [usize; 2], grant: &str, one_way: bool) {
        let new = rest::NewPair {
            source: name(one),
            destination: name(other),
            grant: vec![grant.to_owned()],
            one_way,
            timeout_ms: 0,
        };
        let allowed = self.registry.allow_pair(Actor::Registry, network(), new).await;
        if [one, other].iter().any(|vm| !self.model.vms.contains_key(vm)) {
            assert!(
                matches!(allowed, Err(AllowError::Find(FindError::Vm { .. }))),
                "{allowed:?}"
            );
            return;
        }
        if one == other {
            assert!(matches!(allowed, Err(AllowError::Same)), "{allowed:?}");
            return;
        }
        let carries = Carries::of_pair(grant.parse::<Grants>().unwrap(), one_way);
        for (way, carries) in [(one, other), (other, one)].into_iter().zip(carries) {
            let carries = carries.to_string();
            if self
                .model
                .pairs
                .get(&way)
                .is_none_or(|(_, there)| *there != carries)
            {
                self.model.end(way);
                self.model.begin(way, carries);
            }
        }
    }

    async fn deny(&mut self, [one, other]: [usize; 2]) {
        let new = rest::NewDenial {
            source: name(one),
            destination: name(other),
            timeout_ms: 0,
        };
        let denied = self.registry.deny_pair(Actor::Registry, network(), new).await;
        let known = [one, other].iter().all(|vm| self.model.vms.contains_key(vm));
        assert_eq!(denied.is_ok(), known && one != other, "{denied:?}");
        if denied.is_ok() {
            self.model.end((one, other));
            self.model.end((other, one));
        }
    }

    async fn goal(&self, host: usize) -> Goal {
        let id = self.hosts[host];
        self.registry.store.read(move |view| view.goal(id)).await.unwrap()
    }

    async fn check(&self) {
        let ids: BTreeMap<usize, Uuid> = self.model.vms.iter().map(|(vm, there)| (*vm, there.id)).collect();
        let mut pairs = BTreeMap::new();
        for (vm, id) in ids {
            let of = self
                .registry
                .store
                .read(move |view| view.pairs_of(id))
                .await
                .unwrap();
            for (pair, source, destination) in of {
                let place = |name: &str| NAMES.iter().position(|known| *known == name).unwrap();
                let way = (place(&source.name), place(&destination.name));
                assert!(way.0 == vm || way.1 == vm);
                pairs.insert(way, (pair.id, pair.carries.to_string()));
            }
        }
        assert_eq!(pairs, self.model.pairs);
        let count = self.registry.store.read(|view| view.count_pairs()).await;
        assert_eq!(
            count.map_err(|error: StoreError| error.to_string()),
            Ok(pairs.len() as u64)
        );
        for host in 0..HOSTS.len() {
            let goal = self.goal(host).await;
            assert_eq!(
                goal.dead_pairs.iter().copied().collect::<BTreeSet<_>>(),
                self.model.dead
            );
            assert_eq!(
                goal.floors.iter().copied().collect::<BTreeMap<_, _>>(),
                self.model.floors
            );
            let told: BTreeMap<Uuid, _> = goal
                .vms
                .iter()
                .map(|vm| (vm.id, (vm.generation, vm.addresses.clone())))
                .collect();
            let here = self.model.vms.values().filter(|vm| vm.host == Some(host));
            let expected: BTreeMap<Uuid, _> = here
                .map(|vm| (vm.id, (vm.generation, vec![(address(vm.address), 28)])))
                .collect();
            assert_eq!(told, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Wrong if false: a pair would live that nobody allowed or die that nobody ended, an id would serve twice, or a host
    /// would not be told that something is dead.
    #[test]
    fn whatever_is_done_in_whatever_order_only_what_is_allowed_lives_and_all_else_is_known_dead(
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new().await;
            for step in steps {
                bench.take(step).await;
                bench.check().await;
            }
        });
    }
}

use super::{Expected, FindError, Kind, Refusal, find_host, find_network, find_vm, vms::shown};
use crate::{
    Registry,
    audit::Actor,
    inventory::{
        Vm,
        placement::{Fence, fences_after, tap_name},
    },
    random,
    standing::Standings,
    store::{Change, NewPlacement, StoreError},
};
use pairgate_api::rest;
use uuid::Uuid;

/// Why a VM was not placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("the VM has used up all its generation numbers: make a new VM in its place")]
    Generations,
    #[error("no free interface name for the VM's tap on that host: place another VM there or rename one")]
    Tap,
    #[error("no random numbers from the kernel: {0}")]
    Random(#[from] rand::rand_core::OsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for PlaceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Generations | Self::Tap => Kind::Conflict,
            Self::Random(_) => Kind::Internal,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    /// Begins a new generation with a new key; on another host it opens once the hosts before are fenced.
    pub async fn place_vm(
        &self,
        actor: Actor,
        network: String,
        vm: String,
        new: rest::NewPlacement,
        expected: Expected,
    ) -> Result<rest::Vm, PlaceError> {
        let (settings, before) = (self.settings, self.before);
        let placed = self
            .store
            .change_essential(move |change| {
                let network = find_network(change, &network)?;
                let vm = find_vm(change, &network, &vm)?;
                expected.check(&shown::<PlaceError>(change, vm.id)?)?;
                let host = find_host(change, &new.host)?;
                let until_unix_ms = before.tombstone_end_unix_ms(settings, change.now_unix_ms);
                begin_generation(change, actor, &vm, host.id, until_unix_ms)?;
                shown::<PlaceError>(change, vm.id)
            })
            .await?;
        let placed = self.opened_at_once(placed).await;
        if let Some(placement) = &placed.placement {
            tracing::info!(
                vm = %placed.id, host = placement.host, generation = placement.generation,
                state = placement.state, "vm placed"
            );
        }
        Ok(placed)
    }

    /// The VM as it is once whatever can open has opened. In a change of its own, because a host whose lease has
    /// ended counts as fenced only from a revision that is committed: a lease granted before the commit does
    /// not carry it. The placement itself is done, so what goes wrong here is left to the task that opens.
    pub(super) async fn opened_at_once(&self, placed: rest::Vm) -> rest::Vm {
        if let Err(error) = self.open_what_is_fenced().await {
            tracing::error!(%error, "waiting placements could not be opened");
        }
        let id = placed.id;
        let now = self.store.read(move |view| view.show_vm(id)).await;
        now.ok().flatten().unwrap_or(placed)
    }
}

/// Ends the VM's generation, if it has one, and begins the next with a new key on this host, which may be the same.
pub(super) fn begin_generation(
    change: &Change<'_>,
    actor: Actor,
    vm: &Vm,
    host: Uuid,
    floor_until_unix_ms: u64,
) -> Result<(), PlaceError> {
    let generation = vm.generation.checked_add(1).ok_or(PlaceError::Generations)?;
    let fences = fences_after(
        change.placed(vm.id)?,
        &change.fences(vm.id)?,
        host,
        change.revision()?,
    );
    let taken = change.taps_of_others(host, vm.id)?;
    let tap =
        tap_name(&vm.name, vm.id, |name| taken.iter().any(|taken| taken == name)).ok_or(PlaceError::Tap)?;
    let secret_key = random::secret_key()?;
    let placement = NewPlacement {
        vm: vm.id,
        host,
        generation,
        secret_key: &secret_key,
        tap: &tap,
        fences: &fences,
        floor_until_unix_ms,
    };
    Ok(change.place(actor, &placement)?)
}

/// Opens every waiting placement whose hosts before are fenced; runs in a change that sees only what is
/// committed. The fences were committed by an earlier change, so a host that is certain now stays certain: it gets no lease again without the revision that fenced it.
pub(crate) fn open_fenced(change: &Change<'_>, standings: &Standings) -> Result<(), StoreError> {
    for waiting in change.waiting()? {
        let is_fenced = |fence: &Fence| {
            standings
                .judge(fence.host, fence.revision, change.now_unix_ms)
                .is_certain()
        };
        if waiting.fences.iter().all(is_fenced) {
            change.revision()?;
            change.open_placement(&waiting)?;
            tracing::info!(
                vm = %waiting.vm, host = %waiting.host, generation = waiting.generation,
                "placement opened: no host before can act any more"
            );
        }
    }
    Ok(())
}

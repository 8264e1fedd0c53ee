//! The agent's answers to the CLI of its own host: HTTP over a Unix socket that only root may open. It shows;
//! it changes nothing.

use crate::{
    certificate::Stage,
    clock::{BootTime, RegistryClock},
    datapath::Hook,
    enrol::HostRecord,
    guest_config::{Facts, Given, Told},
    keeper::{Board, KeeperHandle, Kind, PairRow, View},
    renew::{Standing, wall_unix_ms},
    totals::{SlotCounts, Totals},
    uplink::Uplink,
    xdp_guard::{Shown, Why},
};
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use pairgate_api::local::{
    AgentStatus, AuditFinding, DropCount, Drops, GrantClaim, LocalAnswer, LocalGuard, LocalPair, LocalVm,
    PassCount, TokenClaims,
};
use pairgate_token::Claims;
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{net::UnixListener, sync::watch, task::block_in_place};
use tokio_util::sync::CancellationToken;

/// What the answers are made from.
#[derive(Clone, Debug)]
pub struct Local {
    pub host: HostRecord,
    pub uplink: Uplink,
    pub hook: Hook,
    pub keeper: KeeperHandle,
    pub totals: Arc<Totals>,
    pub connected: watch::Receiver<bool>,
    pub certificate: watch::Receiver<Standing>,
    pub clock: RegistryClock,
    pub given: Arc<Given>,
}

/// Opens the socket. It appears under its name with its final rights, or not at all.
pub fn listen(run_dir: &Path) -> io::Result<UnixListener> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(run_dir)?;
    let (new, name) = (run_dir.join("agent.sock.new"), run_dir.join("agent.sock"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    fs::rename(&new, &name)?;
    Ok(listener)
}

/// Serves until `stop`.
pub async fn serve(listener: UnixListener, local: Local, stop: CancellationToken) -> io::Result<()> {
    let app = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/drops", get(drops))
        .with_state(local);
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn status(State(local): State<Local>) -> Result<Json<AgentStatus>, StatusCode> {
    let rows = local.keeper.list().await;
    let rows = rows.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let view = local.keeper.view();
    let now = BootTime::now();
    let lease_left = now.until(view.lease);
    let certificate = local.certificate.borrow().clone();
    let now_unix_ms = local.clock.unix_ms(now).unwrap_or_else(wall_unix_ms);
    let last_pair = rows.iter().map(|row| now.until(row.deadline)).max();
    Ok(Json(AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abi_version: pairgate_abi::ABI_VERSION,
        host: local.host.name.clone(),
        host_id: local.host.host_id,
        address: local.host.address,
        uplink: local.uplink.name.clone(),
        hook: local.hook.name().to_owned(),
        registry_connected: *local.connected.borrow(),
        applied_revision: view.applied,
        lease_left_ms: millis(lease_left),
        survives_ms: millis(last_pair.unwrap_or_default().min(lease_left)),
        vms: vms(&view, &local),
        pairs: rows.into_iter().map(|row| pair(row, now)).collect(),
        tombstones: view
            .goal
            .as_ref()
            .map_or(0, |goal| u64::try_from(goal.tombstones.len()).unwrap_or(u64::MAX)),
        certificate_expires_unix_ms: certificate.life.ends_unix_ms,
        certificate_overdue: certificate.life.stage(now_unix_ms) >= Stage::Overdue,
        certificate_why: certificate.why,
        xdp_guard: Some(guard(&local.keeper.guard())),
        findings: findings(local.keeper.board()),
        found: found(local.keeper.board()),
    }))
}

fn guard(shown: &Shown) -> LocalGuard {
    LocalGuard {
        setting: shown.choice.word().to_owned(),
        on: shown.is_on(),
        why: shown.off.as_ref().map(Why::to_string),
    }
}

fn findings(board: &Board) -> Vec<AuditFinding> {
    let standing = board.standing();
    let findings = standing.iter().map(|finding| AuditFinding {
        kind: finding.kind.word().to_owned(),
        what: finding.what.clone(),
    });
    findings.collect()
}

fn found(board: &Board) -> BTreeMap<String, u64> {
    let counts = Kind::ALL.map(|kind| (kind.word().to_owned(), board.count(kind)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn vms(view: &View, local: &Local) -> Vec<LocalVm> {
    let (given, inner) = (&local.given, local.uplink.largest_inner());
    let guests = view.goal.iter().flat_map(|goal| goal.guests.values());
    let mut vms: Vec<_> = guests
        .map(|guest| LocalVm {
            id: guest.id,
            name: guest.name.clone(),
            network: guest.network_name.clone(),
            addresses: guest.addresses.iter().map(|own| own.address).collect(),
            generation: guest.generation,
            tap: guest.tap.to_string(),
            state: view
                .guests
                .get(&guest.id)
                .map_or_else(|| "waiting".to_owned(), |guest| guest.state.clone()),
            gateway: guest.told.gateway,
            dns: guest.told.dns.clone(),
            domain: guest.told.domain.clone(),
            mtu: u32::from(Facts::of(guest, inner).mtu),
            told: given.of(guest.id).into_iter().map(told).collect(),
        })
        .collect();
    vms.sort_by(|one, other| (&one.network, &one.name).cmp(&(&other.network, &other.name)));
    vms
}

fn told(told: Told) -> LocalAnswer {
    LocalAnswer {
        protocol: told.protocol.word().to_owned(),
        answer: told.kind.word().to_owned(),
        at_unix_ms: told.at_unix_ms,
    }
}

fn pair(row: PairRow, now: BootTime) -> LocalPair {
    LocalPair {
        pair_id: row.pair_id,
        way: if row.incoming { "in" } else { "out" }.to_owned(),
        source: row.source,
        destination: row.destination,
        peer_host: row.peer_host,
        left_ms: millis(now.until(row.deadline)),
        claims: row.claims.map(claims),
    }
}

fn claims(claims: Claims) -> TokenClaims {
    let grants = claims.grants.entries().iter().map(|grant| GrantClaim {
        protocol: grant.protocol,
        first: grant.first,
        last: grant.last,
    });
    TokenClaims {
        flags: u8::from(claims.replies_only),
        dst_port: claims.overlay_port,
        pair_id: claims.pair_id,
        src_generation: claims.source_generation,
        dst_generation: claims.destination_generation,
        network: claims.network,
        src_vm: claims.source_vm,
        dst_vm: claims.destination_vm,
        src_addr: claims.source_address,
        dst_addr: claims.destination_address,
        src_host: claims.source_host,
        dst_host: claims.destination_host,
        not_before: claims.not_before_unix_secs,
        expires: claims.expires_unix_secs,
        grants: grants.collect(),
    }
}

async fn drops(State(local): State<Local>) -> Json<Drops> {
    let view = local.keeper.view();
    let mut answer = Drops {
        drops: Vec::new(),
        passed: Vec::new(),
    };
    block_in_place(|| {
        let mut nobody = local.totals.of_slot(0);
        nobody.add(&local.totals.retired());
        list(&mut answer, &nobody, None);
        for vm in vms(&view, &local) {
            let seat = view.guests.get(&vm.id).and_then(|guest| guest.seat);
            if let Some(seat) = seat {
                list(&mut answer, &local.totals.of_slot(seat.slot), Some(&vm));
            }
        }
    });
    Json(answer)
}

fn list(answer: &mut Drops, counts: &SlotCounts, vm: Option<&LocalVm>) {
    let name = vm.map(|vm| vm.name.clone());
    let network = vm.map(|vm| vm.network.clone());
    for (direction, reason, packets) in counts.dropped().filter(|(.., packets)| *packets > 0) {
        answer.drops.push(DropCount {
            vm: name.clone(),
            network: network.clone(),
            direction: direction.word().to_owned(),
            reason: reason.word().to_owned(),
            meaning: reason.meaning().trim().to_owned(),
            packets,
        });
    }
    for (direction, count) in counts.passed().filter(|(_, count)| count.packets > 0) {
        answer.passed.push(PassCount {
            vm: name.clone(),
            network: network.clone(),
            direction: direction.word().to_owned(),
            packets: count.packets,
            bytes: count.bytes,
        });
    }
}

//! A host's certificate over its life, with the real registry: the test writes the agent an older certificate
//! of the same key, made with the laboratory's own CA, instead of waiting for half a day.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_api::local::AgentStatus;
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_identity::Credentials;
use pairgate_lab::patience;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, SerialNumber, date_time_ymd,
};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

const HOUR: i64 = 3600;

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn file(rig: &Rig, name: &str) -> PathBuf {
    rig.lab.plan().host_dir("h1").join(name)
}

/// The certificate that h1 has on disk.
fn on_disk(rig: &Rig) -> Credentials {
    Credentials::load(
        &file(rig, "ca.pem"),
        &file(rig, "host.pem"),
        &file(rig, "host.key"),
    )
    .unwrap()
}

/// Writes h1 a certificate that began and ends so many hours from now. Its agent must not run.
fn make_older(rig: &Rig, begins_hours: i64, ends_hours: i64) {
    let registry = rig.lab.plan().registry_dir();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let ca_key = KeyPair::from_pem(&read(registry.join("ca.key"))).unwrap();
    let ca = Issuer::from_ca_cert_pem(&read(registry.join("ca.pem")), ca_key).unwrap();
    let key = KeyPair::from_pem(&read(file(rig, "host.key"))).unwrap();
    let own = on_disk(rig);
    let mut params = CertificateParams::default();
    let at = |hours: i64| {
        let secs = u64::try_from(now_secs() + hours * HOUR).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(secs)
    };
    (params.not_before, params.not_after) = (at(begins_hours), at(ends_hours));
    params.serial_number = Some(SerialNumber::from_slice(&Uuid::new_v4().into_bytes()[..8]));
    let uri = own.identity().to_string().try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(uri), SanType::IpAddress(own.address().unwrap())];
    let both = [
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params.extended_key_usages = both.to_vec();
    let pem = params.signed_by(&key, &ca).unwrap().pem();
    fs::write(file(rig, "host.pem"), pem).unwrap();
}

/// Nothing while the agent has not opened its socket yet.
fn try_status(rig: &Rig) -> Option<(i32, AgentStatus, String)> {
    let answer = rig.lab.call(&["--host", "h1", "status", "-o", "json"]).unwrap();
    let status = serde_json::from_value(answer.json().ok()?).unwrap();
    Some((answer.code, status, answer.stderr))
}

fn status(rig: &Rig) -> (i32, AgentStatus, String) {
    try_status(rig).unwrap()
}

fn await_renewed(rig: &Rig) {
    patience::until(PATIENCE, "h1 has a new certificate", || {
        let Some((_, status, _)) = try_status(rig) else {
            return Ok(None);
        };
        let ends = i64::try_from(status.certificate_expires_unix_ms / 1000)?;
        Ok((ends > now_secs() + 20 * HOUR).then_some(()))
    })
    .unwrap();
    assert!(
        on_disk(rig).certificate().not_after > now_secs() + 20 * HOUR,
        "it is not on disk"
    );
}

#[test]
fn a_host_renews_its_certificate_by_itself_and_loses_nothing_that_is_open() {
    let rig = Rig::start_default("certrenew").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.lab.stop("agent-h1").unwrap();
    make_older(&rig, -14, 10);
    rig.lab.start_again("agent-h1").unwrap();
    await_renewed(&rig);
    // The agent has only just started: it may still be on its way to the registry.
    let mut said = String::new();
    let of_h1 = patience::until(PATIENCE, "the status of h1 is green", || {
        let (code, of_h1, complaint) = status(&rig);
        said = complaint;
        Ok((code == 0).then_some(of_h1))
    });
    let of_h1 = of_h1.unwrap_or_else(|error| panic!("{error:#}; it says: {said}"));
    assert_eq!((of_h1.certificate_overdue, of_h1.certificate_why), (false, None));
    assert!(rig.answers("web1", DB1).unwrap(), "the open pair was lost");
    // A new offer, and the next goal state, go by connections that show the new certificate.
    rig.lab.call(&["pair", "allow", "web1", "db2"]).unwrap();
    rig.await_answer("web1", pairgate_e2e::DB2).unwrap();
    let deny = rig.lab.call(&["pair", "deny", "web1", "db2"]).unwrap();
    assert_eq!(deny.code, 0, "no receipt came from h1: {}", deny.stderr);
    // The stream of goal states changed over without a gap.
    let log = fs::read_to_string(rig.lab.process("agent-h1").unwrap().log).unwrap();
    let (_, after) = log.split_once("this host has a new certificate").unwrap();
    assert!(!after.contains("is not followed"), "{after}");
}

#[test]
fn a_certificate_that_nothing_renews_is_a_red_line_and_one_that_ran_out_is_asked_for_anew() {
    let rig = Rig::start_default("certlate").unwrap();
    rig.lab.stop("registry").unwrap();
    rig.lab.stop("agent-h1").unwrap();
    make_older(&rig, -22, 2);
    rig.lab.start_again("agent-h1").unwrap();
    patience::until(PATIENCE, "the failure is shown", || {
        let why = try_status(&rig).and_then(|(_, status, _)| status.certificate_why);
        Ok(why.map(drop))
    })
    .unwrap();
    let (code, of_h1, said) = status(&rig);
    assert_eq!((code, of_h1.certificate_overdue), (1, true));
    assert!(
        said.contains("certificate ends at") && said.contains("cure"),
        "{said}"
    );
    rig.lab.start_again("registry").unwrap();
    await_renewed(&rig);
    assert_eq!(status(&rig).0, 0);

    rig.lab.stop("agent-h1").unwrap();
    make_older(&rig, -30, -1);
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.await_settled().unwrap();
    await_renewed(&rig);
    rig.await_answer("web1", DB1).unwrap();
}

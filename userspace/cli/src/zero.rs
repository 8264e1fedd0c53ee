//! `pairgate zero`: certificates that enrol hosts, and do nothing else.

use crate::arguments::{Name, Options};
use crate::certificate::{Length, Requested};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use crate::times::utc;
use clap::Subcommand;
use pairgate_api::rest::{IssuedZero, NewZero, Zero};
use std::path::PathBuf;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a zero certificate, with which hosts enrol
    ///
    /// Makes a key, keeps it in PREFIX.key, and writes the certificate for it to PREFIX.pem. The key is not sent.
    #[command(after_help = "Example:\n  pairgate zero create rack1 --into rack1 --uses 40 --life 12h")]
    Create {
        /// Who gets it: 1 to 63 of a-z, 0-9 and -
        owner: Name,
        /// Where the two files go
        #[arg(long, value_name = "PREFIX")]
        into: PathBuf,
        /// How many hosts it may enrol; 1 unless given
        #[arg(long, value_name = "NUMBER")]
        uses: Option<u32>,
        /// How long it is good, such as 12h or 7d; one day unless given
        #[arg(long, value_name = "TIME")]
        life: Option<Length>,
    },
    /// All zero certificates, also revoked ones
    #[command(after_help = "Example:\n  pairgate zero list")]
    List,
    /// End one; it is refused from the next request on
    #[command(after_help = "Example:\n  pairgate zero revoke 5d6c1f1e-4b0c-4f0e-9d3a-0f6f4c2b7a10")]
    Revoke {
        /// Its id, as list shows it
        id: Uuid,
    },
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    match command {
        Command::Create {
            owner,
            into,
            uses,
            life,
        } => {
            let what = format!("cannot make a certificate for {owner}");
            let requested = Requested::new(&what, &into)?;
            let body = NewZero {
                owner: owner.into(),
                signing_request: requested.signing_request.clone(),
                uses,
                life_secs: life.map(|Length(secs)| secs),
            };
            let answer = match registry
                .post::<IssuedZero>(&what, "zero-certificates", &body)
                .await
            {
                Ok(answer) => answer,
                Err(failure) => {
                    requested.give_up();
                    return Err(failure);
                }
            };
            let (certificate, key) = requested.complete(&answer.value.certificate_pem)?;
            reply(&answer, options.output, |made| {
                let mut table = Table::plain();
                table
                    .property("id", made.zero.id)
                    .property("certificate", certificate.display())
                    .property("key", key.display())
                    .property("good until", utc(made.zero.expires_unix_ms));
                table.render()
            })?;
        }
        Command::List => {
            let answer = registry
                .get("cannot list the certificates", "zero-certificates")
                .await?;
            reply(&answer, options.output, |all: &Vec<Zero>| list(all))?;
        }
        Command::Revoke { id } => {
            let what = format!("cannot revoke {id}");
            let path = format!("zero-certificates/{id}/revocation");
            let answer = registry.post(&what, &path, &()).await?;
            reply(&answer, options.output, |revoked: &Zero| {
                list(std::slice::from_ref(revoked))
            })?;
        }
    }
    Ok(Answer::Yes)
}

fn list(all: &[Zero]) -> String {
    let mut table = Table::new(["ID", "OWNER", "GOOD UNTIL", "USES LEFT", "REVOKED"]);
    for one in all {
        table.row([
            one.id.to_string(),
            one.owner.clone(),
            utc(one.expires_unix_ms),
            one.uses_left.to_string(),
            if one.revoked { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.render()
}

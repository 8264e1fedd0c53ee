//! `pairgate operator`: who may manage the installation.

use crate::arguments::{Name, Options};
use crate::certificate::{Length, Requested};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use crate::times::utc;
use clap::Subcommand;
use pairgate_api::rest::{IssuedOperator, NewOperator, Operator};
use std::path::PathBuf;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a certificate for a further operator
    ///
    /// Makes a key, keeps it in PREFIX.key, and writes the certificate for it to PREFIX.pem. The key is not sent.
    #[command(after_help = "Example:\n  pairgate operator create alice --into alice --life 30d")]
    Create {
        /// Who gets it: 1 to 63 of a-z, 0-9 and -
        owner: Name,
        /// Where the two files go
        #[arg(long, value_name = "PREFIX")]
        into: PathBuf,
        /// How long it is good, such as 12h or 7d; 90 days unless given
        #[arg(long, value_name = "TIME")]
        life: Option<Length>,
    },
    /// All operator certificates, also revoked ones
    #[command(after_help = "Example:\n  pairgate operator list")]
    List,
    /// End one; it is refused from the next request on
    #[command(after_help = "Example:\n  pairgate operator revoke 5d6c1f1e-4b0c-4f0e-9d3a-0f6f4c2b7a10")]
    Revoke {
        /// Its id, as list shows it
        id: Uuid,
    },
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    match command {
        Command::Create { owner, into, life } => {
            let what = format!("cannot make a certificate for {owner}");
            let requested = Requested::new(&what, &into)?;
            let body = NewOperator {
                owner: owner.into(),
                signing_request: requested.signing_request.clone(),
                life_secs: life.map(|Length(secs)| secs),
            };
            let answer = match registry.post::<IssuedOperator>(&what, "operators", &body).await {
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
                    .property("id", made.operator.id)
                    .property("certificate", certificate.display())
                    .property("key", key.display())
                    .property("good until", utc(made.operator.expires_unix_ms));
                table.render()
            })?;
        }
        Command::List => {
            let answer = registry.get("cannot list the certificates", "operators").await?;
            reply(&answer, options.output, |all: &Vec<Operator>| list(all))?;
        }
        Command::Revoke { id } => {
            let what = format!("cannot revoke {id}");
            let path = format!("operators/{id}/revocation");
            let answer = registry.post(&what, &path, &()).await?;
            reply(&answer, options.output, |revoked: &Operator| {
                list(std::slice::from_ref(revoked))
            })?;
        }
    }
    Ok(Answer::Yes)
}

fn list(all: &[Operator]) -> String {
    let mut table = Table::new(["ID", "OWNER", "GOOD UNTIL", "REVOKED"]);
    for one in all {
        table.row([
            one.id.to_string(),
            one.owner.clone(),
            utc(one.expires_unix_ms),
            if one.revoked { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.render()
}

use pairgate_api::routes::Role;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// What a certificate says of its holder: `pairgate://<installation>/<role>/<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub installation: Uuid,
    pub role: Role,
    pub id: Uuid,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("not of the form pairgate://<installation>/<role>/<id>")]
    Form,
    #[error("unknown role {0:?}")]
    Role(String),
    #[error("not a lower-case hyphenated UUID")]
    Uuid,
}

pub(crate) const SCHEME: &str = "pairgate://";

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCHEME}{}/{}/{}",
            self.installation,
            self.role.word(),
            self.id
        )
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let mut parts = text.strip_prefix(SCHEME).ok_or(IdentityError::Form)?.split('/');
        let (Some(installation), Some(role), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Form);
        };
        let known = Role::ALL.into_iter().find(|known| known.word() == role);
        Ok(Self {
            installation: canonical_uuid(installation)?,
            role: known.ok_or_else(|| IdentityError::Role(role.to_owned()))?,
            id: canonical_uuid(id)?,
        })
    }
}

/// Only the form that `Display` writes: two texts must never name one holder.
fn canonical_uuid(text: &str) -> Result<Uuid, IdentityError> {
    let uuid = Uuid::try_parse(text).map_err(|_| IdentityError::Uuid)?;
    if uuid.to_string() == text {
        Ok(uuid)
    } else {
        Err(IdentityError::Uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_text() {
        for role in Role::ALL {
            let identity = Identity {
                installation: Uuid::new_v4(),
                role,
                id: Uuid::new_v4(),
            };
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }

    #[test]
    fn only_one_text_names_a_holder() {
        let good =
            "pairgate://6134ed38-3859-4cf9-8a0f-c906b35509a5/host/bd24d4ce-891f-413b-adeb-7d95aabe5c15";
        assert!(good.parse::<Identity>().is_ok());
        for (bad, why) in [
            (
                good.to_uppercase()
                    .replace("PAIRGATE", "pairgate")
                    .replace("HOST", "host"),
                IdentityError::Uuid,
            ),
            (good.replace('-', ""), IdentityError::Uuid),
            (format!("{good}/"), IdentityError::Form),
            (good.replace("pairgate:", "spiffe:"), IdentityError::Form),
            (good.replace("host", "root"), IdentityError::Role("root".into())),
        ] {
            assert_eq!(bad.parse::<Identity>(), Err(why), "{bad}");
        }
    }
}

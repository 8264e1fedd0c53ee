//! The two interfaces by which frames of other hosts come in, each with its program: the uplink and the VXLAN
//! device. What somebody else takes off them is put back.

use super::{Finding, Keeper, Kind};
use crate::{
    datapath::{AttachError, Loaded, Program},
    net::{Net, NetError},
    port::{DEVICE, OverlayPort, PortError},
};
use tokio::task::block_in_place;

/// Where frames of other hosts come in.
#[derive(Clone, Debug)]
pub struct Doors {
    /// Name and number of the uplink.
    pub uplink: (String, u32),
    pub overlay: OverlayPort,
}

/// Why frames of other hosts may be lost, or reach the host's own stack.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error("interface {0} was replaced while its program was being attached; start the agent again")]
    Replaced(String),
}

impl Doors {
    /// Puts the programs in their places and brings the VXLAN device up; in this order, so that nothing comes
    /// out of the device that its program has not seen.
    pub async fn open(&self, net: &Net, loaded: &mut Loaded) -> Result<(), DoorError> {
        let held = block_in_place(|| loaded.attach_vxlan(DEVICE))?;
        expect(held, self.overlay.index(), DEVICE)?;
        self.overlay.open(net).await?;
        let (name, index) = &self.uplink;
        let held = block_in_place(|| loaded.attach_uplink(name))?;
        expect(held, *index, name)
    }

    /// Puts back what is not as [`open`](Self::open) left it.
    async fn mend(&self, net: &Net, loaded: &mut Loaded) -> Result<Vec<Finding>, DoorError> {
        let (name, uplink) = &self.uplink;
        let overlay = self.overlay.index();
        let mut wrong = Vec::new();
        for (program, index, interface) in [
            (Program::StopIn, overlay, DEVICE),
            (Program::FromVxlan, overlay, DEVICE),
            (Program::FromUplink, *uplink, name.as_str()),
        ] {
            if !block_in_place(|| loaded.holds(program, index))? {
                wrong.push(Finding::new(
                    Kind::Program,
                    format!(
                        "{} was taken off {interface}, or another put in its place",
                        program.name()
                    ),
                ));
            }
        }
        if !self.overlay.is_open(net).await? {
            let what = format!("{DEVICE} was removed, set down or set to something else");
            wrong.push(Finding::new(Kind::Device, what));
        }
        if !wrong.is_empty() {
            self.overlay.make_again(net).await?;
            self.open(net, loaded).await?;
        }
        Ok(wrong)
    }
}

fn expect(held: u32, wanted: u32, name: &str) -> Result<(), DoorError> {
    if held == wanted {
        return Ok(());
    }
    Err(DoorError::Replaced(name.to_owned()))
}

impl Keeper {
    /// Looks after the doors; what cannot be mended is tried again with the next look.
    pub(super) async fn watch_doors(&mut self) {
        let doors = self.doors.clone();
        match doors.mend(&self.net, &mut self.loaded).await {
            Ok(mended) => self.auditor.mended(&mended),
            Err(error) => tracing::error!(%error, "frames of other hosts may be lost until this is mended"),
        }
    }
}

//! Programs on interfaces by a `clsact` queueing discipline and filters: the way of kernels before 6.6, which have no
//! TCX. A filter is named by interface, side, priority and handle; it belongs to the interface, holds its program
//! by itself and stays when the agent ends. Replacing the program of a filter is one step for the packets.
//!
//! Ours that judge have the first priority, and those that stop the last. Of filters with one priority the kernel asks
//! the youngest first.

use super::attach::Program;
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
        NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Before all others.
const FIRST: u16 = 1;
/// Behind all others.
const LAST: u16 = u16::MAX;
/// By which ours are known: nobody who lets the kernel choose gets such a number.
const HANDLE: TcHandle = TcHandle {
    major: 0x5047,
    minor: 1,
};
/// `ETH_P_ALL`: whatever the ethertype.
const ANY_PROTOCOL: u16 = 3;
/// The discipline that filters of both sides hang on.
const CLSACT: &str = "clsact";
/// Before the program's name in what the kernel shows of a filter.
const OURS: &str = "pairgate/";

/// A filter of an interface's side, in the order in which the kernel asks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    priority: u16,
    handle: u32,
    /// The number of its program; 0 if it is none of programs.
    pub(super) program: u32,
    name: String,
}

impl Filter {
    /// Whether it stands where ours does.
    fn is_in_place_of(&self, program: Program) -> bool {
        self.priority == priority(program) && self.handle == u32::from(HANDLE)
    }

    /// Whether an agent has made it for this program.
    pub(super) fn is_ours(&self, program: Program) -> bool {
        self.is_in_place_of(program) && self.name == name_of(program)
    }
}

fn priority(program: Program) -> u16 {
    if program.stops() { LAST } else { FIRST }
}

fn name_of(program: Program) -> String {
    format!("{OURS}{}", program.name())
}

/// What a side of an interface has, first asked first. An interface that is gone has nothing.
pub(super) fn filters(interface: u32, program: Program) -> io::Result<Vec<Filter>> {
    let mut message = message_to(interface, program)?;
    message.header.handle = TcHandle::default();
    message.header.info = 0;
    let answers = talk(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)?;
    Ok(answers.into_iter().filter_map(filter).collect())
}

/// Puts a program on a side of an interface, before all others, or in the place of one that an agent has put there.
pub(super) fn put(interface: u32, program: Program, code: BorrowedFd<'_>) -> io::Result<()> {
    add_discipline(interface)?;
    let there = filters(interface, program)?;
    let flags = match there.iter().find(|filter| filter.is_in_place_of(program)) {
        Some(filter) if filter.is_ours(program) => 0, // the same filter, another program: one step
        Some(filter) => {
            return Err(io::Error::other(format!(
                "the place of its filter (priority {}, handle {:#x}) is taken by {:?}",
                filter.priority, filter.handle, filter.name
            )));
        }
        None => NLM_F_CREATE | NLM_F_EXCL,
    };
    let mut message = message_to(interface, program)?;
    let code = u32::try_from(code.as_raw_fd()).map_err(io::Error::other)?;
    message.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(code)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name_of(program))),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    talk(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_ACK | flags).map(drop)
}

/// Takes ours off; what is not there is off.
pub(super) fn remove(interface: u32, program: Program) -> io::Result<()> {
    if !filters(interface, program)?
        .iter()
        .any(|filter| filter.is_ours(program))
    {
        return Ok(());
    }
    let mut message = message_to(interface, program)?;
    message.attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
    talk(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK).map(drop)
}

/// Filters need a discipline to hang on. It stays when they go: it does nothing by itself, and others may use it.
fn add_discipline(interface: u32) -> io::Result<()> {
    let mut message = TcMessage::with_index(index(interface)?);
    message.header.handle = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: 0,
    };
    message.header.parent = TcHandle::CLSACT;
    message.attributes = vec![TcAttribute::Kind(CLSACT.to_owned())];
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    match talk(RouteNetlinkMessage::NewQueueDiscipline(message), flags) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => judge_discipline(interface),
        done => done.map(drop),
    }
}

/// `ingress` stands in the same place, and has no side towards the guest: half of ours would hang on nothing.
fn judge_discipline(interface: u32) -> io::Result<()> {
    let index = index(interface)?;
    let question = TcMessage::with_index(index);
    let all = talk(RouteNetlinkMessage::GetQueueDiscipline(question), NLM_F_DUMP)?;
    let there = all
        .into_iter()
        .filter(|message| message.header.index == index && message.header.parent == TcHandle::CLSACT);
    let attributes = there.flat_map(|message| message.attributes);
    let other = attributes.into_iter().find_map(|attribute| {
        if let TcAttribute::Kind(kind) = attribute {
            (kind != CLSACT).then_some(kind)
        } else {
            None
        }
    });
    match other {
        None => Ok(()),
        Some(kind) => Err(io::Error::other(format!(
            "it has somebody else's discipline {kind} where clsact belongs: take that off with tc qdisc del dev NAME {kind}, or have its owner use clsact"
        ))),
    }
}

/// Names our filter for a program on an interface.
fn message_to(interface: u32, program: Program) -> io::Result<TcMessage> {
    let mut message = TcMessage::with_index(index(interface)?);
    message.header.handle = HANDLE;
    message.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: if program.is_outward() {
            TcHandle::MIN_EGRESS
        } else {
            TcHandle::MIN_INGRESS
        },
    };
    message.header.info = u32::from(priority(program)) << 16 | u32::from(ANY_PROTOCOL.to_be());
    Ok(message)
}

fn index(interface: u32) -> io::Result<i32> {
    i32::try_from(interface).map_err(io::Error::other)
}

/// Filters of other chains are asked only by those of the first; an entry without options stands for a whole priority.
fn filter(message: TcMessage) -> Option<Filter> {
    let (header, attributes) = message.into_parts();
    let (mut program, mut name, mut is_one) = (0, String::new(), false);
    for attribute in attributes {
        if matches!(attribute, TcAttribute::Chain(chain) if chain != 0) {
            return None;
        }
        if let TcAttribute::Options(options) = attribute {
            is_one = true;
            for option in options {
                if let TcOption::Bpf(TcFilterBpfOption::ProgId(number)) = option {
                    program = number;
                } else if let TcOption::Bpf(TcFilterBpfOption::ProgName(said)) = option {
                    name = said;
                }
            }
        }
    }
    let handle = u32::from(header.handle);
    (is_one && handle != 0).then_some(Filter {
        priority: (header.info >> 16) as u16,
        handle,
        program,
        name,
    })
}

/// One request and its answers.
fn talk(request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<TcMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = 1;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(request));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            if let NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewTrafficFilter(one) | RouteNetlinkMessage::NewQueueDiscipline(one),
            ) = message.payload
            {
                answers.push(one);
            } else if let NetlinkPayload::Error(error) = message.payload {
                return if error.code.is_none() {
                    Ok(answers)
                } else {
                    Err(error.to_io())
                };
            } else if matches!(message.payload, NetlinkPayload::Done(_)) {
                return Ok(answers);
            }
        }
    }
}

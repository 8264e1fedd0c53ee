//! Makes a failure small: fewer packets, then a frame that is nearly the valid one, then a short one.
use crate::{
    bench::{Bench, Fault, Mood},
    generate::least,
    oracle::{Baggage, Input},
};
use anyhow::Result;

/// How often the packets are tried again at most.
const PATIENCE: usize = 20_000;

/// Packets that the kernel and the oracle make different things of.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is used up before.
    pub mood: Mood,
    /// The packets.
    pub inputs: Vec<Input>,
    /// What each of them was before it was broken.
    pub honest: Vec<Vec<u8>>,
    /// What differs.
    pub what: String,
}

struct Shrinker<'a> {
    bench: &'a mut Bench,
    failure: Failure,
    left: usize,
}

/// The smallest failure of the same packets that is found.
pub fn shrink(bench: &mut Bench, failure: Failure) -> Result<Failure> {
    let mut shrinker = Shrinker {
        bench,
        failure,
        left: PATIENCE,
    };
    if !shrinker.try_as(|_| true)? {
        return Ok(shrinker.failure); // it does not come again
    }
    shrinker.packets()?;
    shrinker.baggage()?;
    shrinker.bytes()?;
    shrinker.length()?;
    Ok(shrinker.failure)
}

/// What differs when the packets go through, if anything does.
pub fn difference(bench: &mut Bench, mood: Mood, inputs: &[Input]) -> Result<Option<String>> {
    bench.begin(mood)?;
    let mut through = || {
        for input in inputs {
            bench.check(input)?;
        }
        bench.settle()
    };
    match through() {
        Ok(()) => Ok(None),
        Err(Fault::Differs(what)) => Ok(Some(what)),
        Err(Fault::Failed(error)) => Err(error),
    }
}

impl Shrinker<'_> {
    /// Keeps a change if it was one and the failure is still there. A frame that the kernel does not run is no failure.
    fn try_as(&mut self, change: impl FnOnce(&mut Failure) -> bool) -> Result<bool> {
        let mut changed = self.failure.clone();
        if self.left == 0 || !change(&mut changed) {
            return Ok(false);
        }
        self.left -= 1;
        let Ok(Some(what)) = difference(self.bench, changed.mood, &changed.inputs) else {
            return Ok(false);
        };
        changed.what = what;
        self.failure = changed;
        Ok(true)
    }

    fn packets(&mut self) -> Result<()> {
        let mut size = self.failure.inputs.len();
        while size > 0 {
            let mut at = 0;
            while at < self.failure.inputs.len() {
                let removed = self.try_as(|failure| {
                    let end = (at + size).min(failure.inputs.len());
                    failure.inputs.drain(at..end);
                    failure.honest.drain(at..end);
                    !failure.inputs.is_empty()
                })?;
                if !removed {
                    at += size;
                }
            }
            size /= 2;
        }
        Ok(())
    }

    fn baggage(&mut self) -> Result<()> {
        self.try_as(|failure| {
            failure.mood = Mood::default();
            true
        })?;
        self.last(|input| input.baggage = Baggage::default())?;
        Ok(())
    }

    fn last(&mut self, change: impl FnOnce(&mut Input)) -> Result<bool> {
        self.try_as(|failure| {
            let Some(input) = failure.inputs.last_mut() else {
                return false;
            };
            let before = input.clone();
            change(input);
            *input != before
        })
    }

    /// Back to the valid frame, in ever smaller pieces.
    fn bytes(&mut self) -> Result<()> {
        let Some(honest) = self.failure.honest.last().cloned() else {
            return Ok(());
        };
        for size in [64, 16, 4, 2, 1] {
            for at in (0..honest.len()).step_by(size) {
                self.last(|input| {
                    let end = (at + size).min(honest.len()).min(input.frame.len());
                    if at < end {
                        input.frame[at..end].copy_from_slice(&honest[at..end]);
                    }
                })?;
            }
        }
        Ok(())
    }

    fn length(&mut self) -> Result<()> {
        for by in [1024, 256, 64, 16, 4, 1] {
            while self.last(|input| {
                let length = input.frame.len().saturating_sub(by);
                if length >= least(&input.frame) {
                    input.frame.truncate(length);
                }
            })? {}
        }
        Ok(())
    }
}

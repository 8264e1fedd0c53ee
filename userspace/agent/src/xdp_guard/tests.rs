use super::*;

/// Looks every three seconds, as the auditor does, at an uplink with so many strays and so many other frames a second.
struct Course {
    rule: Rule,
    is_on: bool,
    sample: Sample,
    now: BootTime,
    /// How often it was put on.
    put: u32,
}

const LOOK: Duration = Duration::from_secs(3);

impl Course {
    fn new() -> Self {
        Self {
            rule: Rule::default(),
            is_on: false,
            sample: Sample::default(),
            now: BootTime::from_nanos(1_000_000_000),
            put: 0,
        }
    }

    fn run(&mut self, how_long: Duration, strays: u64, passing: u64) {
        let ends = self.now.after(how_long);
        while self.now < ends {
            self.now = self.now.after(LOOK);
            self.sample.strays += strays * LOOK.as_secs();
            self.sample.frames += (strays + passing) * LOOK.as_secs();
            let was_on = self.is_on;
            let ground = Ground::default();
            let wanted = decide(
                Choice::Auto,
                &ground,
                &mut self.rule,
                was_on,
                self.sample,
                self.now,
            );
            self.is_on = wanted.is_ok();
            self.put += u32::from(self.is_on && !was_on);
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_flood_that_goes_on_puts_it_on_and_a_short_one_does_not() {
    let mut course = Course::new();
    course.run(9 * SECOND, 500_000, 1_000);
    assert!(!course.is_on, "queues would be set up anew for every burst");
    course.run(9 * SECOND, 500_000, 1_000);
    assert!(course.is_on, "a flood goes on and nothing is done");
}

#[test]
fn bursts_with_pauses_never_add_up() {
    let mut course = Course::new();
    for _ in 0..100 {
        course.run(9 * SECOND, 500_000, 1_000);
        course.run(3 * SECOND, 0, 1_000);
    }
    assert_eq!(course.put, 0);
}

#[test]
fn honest_traffic_that_pays_more_than_the_flood_costs_keeps_it_off() {
    let mut course = Course::new();
    let strays = 20_000;
    let balance = strays * SAVED_NS / (COST_NS * MARGIN);
    course.run(MINUTE, strays, balance + 1);
    assert_eq!(course.put, 0, "everybody pays for a few strays");
    course.run(MINUTE, strays, balance - 1);
    assert_eq!(course.put, 1);
}

#[test]
fn a_trickle_is_not_worth_a_program_on_an_idle_uplink() {
    let mut course = Course::new();
    course.run(60 * MINUTE, LEAST_STRAYS - 1, 0);
    assert_eq!(course.put, 0);
}

#[test]
fn it_stays_on_after_a_flood_and_then_comes_off() {
    let mut course = Course::new();
    course.run(MINUTE, 500_000, 1_000);
    course.run(STAY - 6 * SECOND, 0, 1_000);
    assert!(course.is_on, "a pause in a flood takes it off");
    course.run(9 * SECOND, 0, 1_000);
    assert!(!course.is_on, "honest traffic pays for a flood of long ago");
}

#[test]
fn a_stranger_who_floods_in_turns_changes_it_a_few_times_a_day() {
    let mut course = Course::new();
    // As cleverly as can be: a flood just long enough, then silence until it is off.
    let day = course.now.after(24 * 60 * MINUTE);
    while course.now < day {
        while !course.is_on && course.now < day {
            course.run(LOOK, 500_000, 1_000);
        }
        while course.is_on && course.now < day {
            course.run(LOOK, 0, 1_000);
        }
    }
    assert!(
        (2..=8).contains(&course.put),
        "put on {} times in a day",
        course.put
    );
}

#[test]
fn one_that_was_left_on_is_not_taken_off_at_once() {
    let mut course = Course::new();
    course.is_on = true;
    course.run(STAY - 6 * SECOND, 0, 1_000);
    assert!(
        course.is_on,
        "a restart of the agent in a flood would take it off"
    );
    course.run(9 * SECOND, 0, 1_000);
    assert!(!course.is_on);
}

#[test]
fn counters_that_go_back_are_no_flood() {
    let mut rule = Rule::default();
    let high = Sample {
        strays: u64::MAX,
        frames: u64::MAX,
    };
    for (at, sample) in [high, Sample::default(), high, Sample::default()]
        .into_iter()
        .enumerate()
    {
        let now = BootTime::from_nanos(at as u64 * 3_000_000_000);
        assert!(!rule.next(false, sample, now));
    }
}

#[test]
fn what_speaks_against_it_counts_more_than_a_flood_and_than_the_operator_where_frames_could_be_mistaken() {
    let network = Ground {
        other_network: Some("up0.7".into()),
        ..Ground::default()
    };
    let veth = Ground {
        is_veth: true,
        ..Ground::default()
    };
    for (choice, ground, expected) in [
        (Choice::Off, &Ground::default(), Err(Why::Setting)),
        (Choice::On, &Ground::default(), Ok(())),
        (Choice::On, &veth, Ok(())),
        (Choice::On, &network, Err(Why::OtherNetwork("up0.7".into()))),
        (Choice::Auto, &network, Err(Why::OtherNetwork("up0.7".into()))),
        (Choice::Auto, &veth, Err(Why::Veth)),
    ] {
        // One that is on, in the middle of a flood: `auto` would leave it.
        let mut rule = Rule::default();
        let decided = decide(choice, ground, &mut rule, true, Sample::default(), BootTime::ZERO);
        assert_eq!(decided, expected, "{choice:?} {ground:?}");
    }
}

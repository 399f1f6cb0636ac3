//! Every flow, with one fault at each moment.

use lifeboat_core::intent::Life;
use lifeboat_core::testing::{Link, Model};

use crate::drive::{Faults, assert_rests, calm, fail_over, protected, relocate, settle};

/// Where a flow begins, and where it should end.
type Flow = (&'static str, fn() -> Model, &'static str);

const FLOWS: [Flow; 5] = [
    ("protect", Model::new, "a"),
    ("relocate", relocating, "b"),
    ("fail over", failing_over, "b"),
    ("return", returning, "b"),
    ("fail back", failing_back, "a"),
];

fn relocating() -> Model {
    let mut model = protected();
    relocate(&mut model, "b");
    model
}

fn failing_over() -> Model {
    let mut model = protected();
    fail_over(&mut model, "b");
    model
}

fn returning() -> Model {
    let mut model = protected();
    model.link("a", Link::Dead);
    fail_over(&mut model, "b");
    calm(&mut model);
    model.link("a", Link::Up);
    model
}

fn failing_back() -> Model {
    let mut model = returning();
    calm(&mut model);
    relocate(&mut model, "a");
    model
}

fn length(flow: &Flow) -> usize {
    calm(&mut flow.1()).looks + 2
}

#[test]
fn a_hub_that_loses_its_memory_goes_on_from_any_moment() {
    for flow in &FLOWS {
        for at in 0..length(flow) {
            let mut model = flow.1();
            let told = settle(
                &mut model,
                &Faults {
                    lose_hub: Some(at),
                    ..Faults::default()
                },
            );
            eprintln!("{} lost at {at}: {:?}", flow.0, told.log);
            assert_rests(&mut model, flow.2);
        }
    }
}

#[test]
fn a_cluster_that_is_away_for_a_while_holds_things_up_and_no_more() {
    for flow in &FLOWS {
        for at in 0..length(flow) {
            for name in ["a", "b", "c"] {
                for link in [Link::Cut, Link::Dead] {
                    let mut model = flow.1();
                    let away = Some((name.to_owned(), link, at, at + 9));
                    let told = settle(
                        &mut model,
                        &Faults {
                            away,
                            ..Faults::default()
                        },
                    );
                    eprintln!("{} without {name} from {at}: {:?}", flow.0, told.log);
                    assert_rests(&mut model, flow.2);
                }
            }
        }
    }
}

#[test]
fn answers_that_get_lost_and_steps_done_twice_change_nothing() {
    for flow in &FLOWS {
        for faults in [
            Faults {
                cut: Some(0),
                ..Faults::default()
            },
            Faults {
                cut: Some(1),
                ..Faults::default()
            },
            Faults {
                twice: true,
                ..Faults::default()
            },
        ] {
            let mut model = flow.1();
            settle(&mut model, &faults);
            assert_rests(&mut model, flow.2);
        }
    }
}

#[test]
fn a_hub_that_loses_its_memory_while_protection_ends_goes_on() {
    for at in 0..12 {
        let mut model = protected();
        model.intent.life = Life::Leaving;
        let faults = Faults {
            lose_hub: Some(at),
            ..Faults::default()
        };
        settle(&mut model, &faults);
        assert!(model.finished);
    }
}

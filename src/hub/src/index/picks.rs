//! Which selectors pick an object, without asking each of them.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Expression, Selector, SelectorExt};

use crate::fleet::Labels;
use crate::resolve::PlacementKey;

/// Selectors of placements. Each is filed under one label that it asks for; one that asks for none is tried each time.
#[derive(Default)]
pub(super) struct Picks {
    by_label: BTreeMap<(String, String), BTreeMap<PlacementKey, Selector>>,
    by_none: BTreeMap<PlacementKey, Selector>,
}

impl Picks {
    pub(super) fn add(&mut self, key: &PlacementKey, selector: &Selector) {
        let Some(labels) = asked_for(selector) else {
            self.by_none.insert(key.clone(), selector.clone());
            return;
        };
        for label in labels {
            let there = self.by_label.entry(label).or_default();
            there.insert(key.clone(), selector.clone());
        }
    }

    pub(super) fn remove(&mut self, key: &PlacementKey, selector: &Selector) {
        self.by_none.remove(key);
        for label in asked_for(selector).into_iter().flatten() {
            if let Some(there) = self.by_label.get_mut(&label) {
                there.remove(key);
                if there.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_label.is_empty() && self.by_none.is_empty()
    }

    /// The placements whose selectors match.
    pub(super) fn matching(&self, labels: &Labels) -> BTreeSet<PlacementKey> {
        let tried = self.worth_trying(labels);
        let fitting = tried.filter(|(_, selector)| selector.matches(labels));
        fitting.map(|(key, _)| key.clone()).collect()
    }

    fn worth_trying<'a>(
        &'a self,
        labels: &'a Labels,
    ) -> impl Iterator<Item = (&'a PlacementKey, &'a Selector)> {
        let pair = |(key, value): (&String, &String)| (key.clone(), value.clone());
        let asking = labels
            .iter()
            .filter_map(move |l| self.by_label.get(&pair(l)));
        asking.flatten().chain(&self.by_none)
    }
}

/// Labels of which whatever the selector picks has one.
fn asked_for(selector: &Selector) -> Option<BTreeSet<(String, String)>> {
    selector.clone().into_iter().find_map(|e| match e {
        Expression::Equal(key, value) => Some([(key, value)].into()),
        Expression::In(key, values) => Some(values.into_iter().map(|v| (key.clone(), v)).collect()),
        Expression::NotIn(..)
        | Expression::NotEqual(..)
        | Expression::Exists(_)
        | Expression::DoesNotExist(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PlacementKey {
        PlacementKey {
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn finds_whom_asking_every_selector_would_find() {
        let text = |t: &str| t.to_owned();
        let set = |all: &[&str]| all.iter().map(|v| text(v)).collect::<BTreeSet<_>>();
        let all: [(&str, Vec<Expression>); 8] = [
            ("everything", vec![]),
            ("db", vec![Expression::Equal(text("app"), text("db"))]),
            ("web", vec![Expression::Equal(text("app"), text("web"))]),
            ("few", vec![Expression::In(text("app"), set(&["db", "mq"]))]),
            ("nothing", vec![Expression::In(text("app"), set(&[]))]),
            ("not", vec![Expression::NotIn(text("app"), set(&["db"]))]),
            ("has", vec![Expression::Exists(text("tier"))]),
            (
                "both",
                vec![
                    Expression::DoesNotExist(text("tier")),
                    Expression::NotEqual(text("zone"), text("a")),
                    Expression::Equal(text("app"), text("db")),
                ],
            ),
        ];
        let all = all.map(|(name, e)| (key(name), e.into_iter().collect::<Selector>()));
        let mut picks = Picks::default();
        for (key, selector) in &all {
            picks.add(key, selector);
        }
        for some in [
            labels(&[]),
            labels(&[("app", "db")]),
            labels(&[("app", "db"), ("tier", "back")]),
            labels(&[("app", "db"), ("zone", "a")]),
            labels(&[("app", "mq"), ("tier", "back"), ("zone", "b")]),
            labels(&[("app", "other")]),
        ] {
            let asked = all.iter().filter(|(_, s)| s.matches(&some));
            let want: BTreeSet<PlacementKey> = asked.map(|(key, _)| key.clone()).collect();
            assert_eq!(picks.matching(&some), want, "{some:?}");
        }
        for (key, selector) in &all {
            picks.remove(key, selector);
        }
        assert!(picks.is_empty());
    }

    #[test]
    fn of_many_neighbours_only_those_are_tried_that_ask_for_a_label_of_it() {
        let mut picks = Picks::default();
        for n in 0..1000 {
            let app = Expression::Equal("app".to_owned(), format!("db-{n}"));
            picks.add(&key(&format!("db-{n}")), &app.into());
        }
        picks.add(&key("everything"), &Selector::default());
        let one = labels(&[("app", "db-7"), ("tier", "back")]);
        assert_eq!(picks.worth_trying(&one).count(), 2);
        assert_eq!(
            picks.matching(&one),
            [key("db-7"), key("everything")].into()
        );
    }
}

//! The generic effect tests, over an honest family and over ones that break a promise.

use async_trait::async_trait;
use segue_engine::conformance::{
    Subject, observes_what_is_in_force, repeats_every_run, undoes_from_each_step, undoes_twice,
};
use segue_model::StepName;
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type Texts = Arc<Mutex<BTreeMap<String, String>>>;

/// Which promise is broken.
#[derive(Clone, Copy, PartialEq)]
enum Breaks {
    Nothing,
    RunTwice,
    UndoTwice,
    UndoWithoutRun,
    Observe,
}

/// Writes a line at the end of a text; the inverse is the former text.
struct Line {
    key: &'static str,
    texts: Texts,
    breaks: Breaks,
}

#[async_trait]
impl Effect for Line {
    fn what(&self) -> String {
        format!("add a line to {}", self.key)
    }

    fn by_hand(&self) -> String {
        format!("remove the line from {}", self.key)
    }

    async fn prepare(&self, _call: &Call) -> Outcome<Value> {
        Ok(json!(self.texts.lock().unwrap().get(self.key)))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let mut texts = self.texts.lock().unwrap();
        let former = match self.breaks {
            Breaks::RunTwice => texts.get(self.key).cloned().unwrap_or_default(),
            _ => call.prepared.as_str().unwrap_or_default().to_owned(),
        };
        texts.insert(self.key.to_owned(), former + "line\n");
        Ok(json!("added"))
    }

    async fn observe(&self, _call: &Call) -> Outcome<Observed> {
        let texts = self.texts.lock().unwrap();
        let there = texts.get(self.key).is_some_and(|text| text.ends_with("line\n"));
        Ok(match there && self.breaks != Breaks::Observe {
            true => Observed::Applied(json!("added")),
            false => Observed::NotApplied,
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        let mut texts = self.texts.lock().unwrap();
        match self.breaks {
            Breaks::UndoTwice => {
                let removed = texts.remove(self.key).is_none();
                if removed {
                    texts.insert("garbage".into(), "left".into());
                }
            }
            Breaks::UndoWithoutRun => {
                let there = texts.get(self.key).is_some_and(|text| text.ends_with("line\n"));
                if !there {
                    texts.insert(self.key.to_owned(), "gone".into());
                } else if let Some(former) = call.prepared.as_str() {
                    texts.insert(self.key.to_owned(), former.to_owned());
                }
            }
            _ => match call.prepared.as_str() {
                Some(former) => drop(texts.insert(self.key.to_owned(), former.to_owned())),
                None => drop(texts.remove(self.key)),
            },
        }
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        Ok(())
    }
}

struct Lines {
    texts: Texts,
    breaks: Breaks,
}

#[async_trait]
impl Subject for Lines {
    fn effects(&self) -> Vec<(StepName, Arc<dyn Effect>)> {
        let effect = |key: &'static str| -> (StepName, Arc<dyn Effect>) {
            let texts = Arc::clone(&self.texts);
            (StepName::from(key), Arc::new(Line { key, texts, breaks: self.breaks }))
        };
        ["a", "b", "c"].map(effect).into()
    }

    async fn fingerprint(&self) -> Outcome<String> {
        Ok(format!("{:?}", self.texts.lock().unwrap()))
    }
}

fn lines(breaks: Breaks) -> Lines {
    let texts: Texts = Texts::default();
    texts.lock().unwrap().insert("b".into(), "there before\n".into());
    Lines { texts, breaks }
}

#[tokio::test]
async fn honest_effects_conform() {
    let subject = lines(Breaks::Nothing);
    repeats_every_run(&subject).await.unwrap();
    undoes_from_each_step(&subject).await.unwrap();
    undoes_twice(&subject).await.unwrap();
    observes_what_is_in_force(&subject).await.unwrap();
}

#[tokio::test]
async fn each_broken_promise_is_found() {
    assert!(repeats_every_run(&lines(Breaks::RunTwice)).await.is_err());
    assert!(undoes_twice(&lines(Breaks::UndoTwice)).await.is_err());
    assert!(undoes_from_each_step(&lines(Breaks::UndoWithoutRun)).await.is_err());
    assert!(observes_what_is_in_force(&lines(Breaks::Observe)).await.is_err());
}

//! Changes of a sound plan, and how the program answers.

use std::process::{Command, Output};

/// A change of a sound plan, with its own words.
pub(super) struct Change {
    pub(super) said: String,
    make: Box<dyn Fn(&str) -> String>,
}

impl Change {
    /// Returns the changed plan.
    pub(super) fn of(&self, plan: &str) -> String {
        let changed = (self.make)(plan);
        assert_ne!(changed, plan, "{}", self.said);
        changed
    }
}

/// A plan that is refused: claim, change, code.
pub(super) type Case = (&'static str, Change, &'static str);

/// Replaces the first `from` behind the line that begins with `after`.
pub(super) fn swap(after: &'static str, from: &'static str, to: impl Into<String>) -> Change {
    let to = to.into();
    let said = format!("behind `{after}`: `{}` becomes `{}`", from.trim(), to.trim());
    let make = Box::new(move |plan: &str| {
        let (head, tail) = plan.split_at(plan.find(after).expect(after));
        assert!(tail.contains(from), "`{from}` stands behind `{after}`");
        format!("{head}{}", tail.replacen(from, &to, 1))
    });
    Change { said, make }
}

/// Gives the key behind the line `after` another value.
pub(super) fn set(after: &'static str, key: &'static str, value: impl Into<String>) -> Change {
    let value = value.into();
    let said = format!("{after} {key} = {value}");
    let make = Box::new(move |plan: &str| {
        let (head, tail) = plan.split_at(plan.find(after).expect(after));
        let begin = tail.find(&format!("\n{key} = ")).expect(key) + 1;
        let end = begin + tail[begin..].find('\n').expect("a line ends");
        format!("{head}{}{key} = {value}{}", &tail[..begin], &tail[end..])
    });
    Change { said, make }
}

/// Adds lines at the end.
pub(super) fn add(lines: impl Into<String>) -> Change {
    let lines = lines.into();
    let said = words(&lines);
    Change { said, make: Box::new(move |plan: &str| format!("{plan}\n{lines}")) }
}

/// Adds lines before the line `before`.
pub(super) fn insert(before: &'static str, lines: impl Into<String>) -> Change {
    let lines = lines.into();
    let said = words(&lines);
    let make = Box::new(move |plan: &str| {
        let (head, tail) = plan.split_at(plan.find(before).expect(before));
        format!("{head}{lines}{tail}")
    });
    Change { said, make }
}

fn words(lines: &str) -> String {
    lines.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a command of the program said.
pub(super) struct Said {
    pub(super) exit: i32,
    pub(super) text: String,
}

impl Said {
    /// Runs a command to its end.
    pub(super) fn by(command: &mut Command) -> Self {
        let output: Output = command.output().expect("`segue` runs");
        Self::of(&output)
    }

    pub(super) fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Self { exit: output.status.code().unwrap_or(-1), text }
    }

    /// The line with the code, and the key if one follows it, if the exit code fits and
    /// somebody could act on what was said.
    pub(super) fn refuses(&self, exit: i32, code: &str) -> Result<String, String> {
        let whole = || format!("exit {}: {}", self.exit, self.text.trim());
        if self.exit != exit || self.text.contains("panicked") {
            return Err(whole());
        }
        let has = |line: &&str| code.split(' ').all(|word| line.contains(word));
        let line = self.text.lines().find(has).ok_or_else(whole)?;
        if line.trim().len() < code.len() + 20 {
            return Err(format!("says nothing about the cause: {}", whole()));
        }
        Ok(format!("exit {exit}, {}", line.trim()))
    }
}

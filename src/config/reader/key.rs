//! A key that was asked for: its value is checked, given its default, and recorded.

use std::ops::RangeInclusive;

use super::{Located, Problem, Shape, Table};
use crate::config::diagnostic::{Diagnostic, Origin};

/// A key with one value.
#[derive(Debug)]
#[must_use = "a key that is not finished is not recorded"]
pub struct Key<'t, 'a, T> {
    table: &'t Table<'a>,
    name: &'static str,
    /// `None` when it is not set; an error, which was reported, when its value was refused.
    state: Option<Result<Located<T>, Origin>>,
}

/// A key with a list of values.
#[derive(Debug)]
#[must_use = "a key that is not finished is not recorded"]
pub struct List<'t, 'a, T> {
    table: &'t Table<'a>,
    name: &'static str,
    given: Option<Given<T>>,
}

/// The values of a list, each refused or not, and where the list is.
type Given<T> = (Vec<Result<Located<T>, Origin>>, Origin);

impl<'t, 'a, T: Shape> Key<'t, 'a, T> {
    pub(super) fn new(table: &'t Table<'a>, name: &'static str, state: Option<Result<Located<T>, Origin>>) -> Self {
        Self { table, name, state }
    }

    /// Refuses values that do not pass.
    pub fn check(mut self, check: impl FnOnce(&T) -> Result<(), Problem>) -> Self {
        if let Some(Ok(located)) = &self.state
            && let Err(problem) = check(&located.value)
        {
            self.table.refuse(self.name, &located.origin, problem);
            self.state = Some(Err(located.origin.clone()));
        }
        self
    }

    /// Refuses values outside of a range.
    pub fn within(self, range: &RangeInclusive<T>) -> Self
    where
        T: PartialOrd,
    {
        self.check(|value| {
            if range.contains(value) {
                return Ok(());
            }
            let [value, least, most] = [value, range.start(), range.end()].map(Shape::print);
            Err(Problem::new(format!("{value} is out of range: {least} to {most}")))
        })
    }

    /// The value, or the default.
    pub fn or(self, default: T) -> Located<T> {
        match self.state {
            Some(Ok(located)) => {
                self.table.record(self.name, Some(located.value.print()), located.origin.clone(), Vec::new());
                located
            }
            Some(Err(origin)) => Located { value: default, origin, sound: false },
            None => {
                self.table.record(self.name, Some(default.print()), Origin::Default, Vec::new());
                Located::default(default)
            }
        }
    }

    /// The value, if it is set and not refused.
    pub fn optional(self) -> Option<Located<T>> {
        match self.state {
            Some(Ok(located)) => {
                self.table.record(self.name, Some(located.value.print()), located.origin.clone(), Vec::new());
                Some(located)
            }
            Some(Err(_)) => None,
            None => {
                self.table.record(self.name, None, Origin::Default, Vec::new());
                None
            }
        }
    }

    /// The value, and a complaint when it is not set; `hint` says what to write.
    pub fn required(self, hint: &str) -> Option<Located<T>> {
        if self.state.is_none() {
            let message = format!("`{}` is missing in {}", self.name, self.table.section());
            self.table.reader().report_missing(Diagnostic::error(self.table.origin(), message).help(hint));
        }
        self.optional()
    }
}

impl<'t, 'a, T: Shape> List<'t, 'a, T> {
    pub(super) fn new(table: &'t Table<'a>, name: &'static str, given: Option<Given<T>>) -> Self {
        Self { table, name, given }
    }

    /// Refuses the same value twice.
    pub fn distinct(mut self) -> Self {
        let mut seen = Vec::new();
        for item in self.given.iter_mut().flat_map(|(items, _)| items) {
            let Ok(located) = item else { continue };
            let text = located.value.print();
            if seen.contains(&text) {
                self.table.refuse(self.name, &located.origin, Problem::new(format!("{text} stands twice")));
                *item = Err(located.origin.clone());
            } else {
                seen.push(text);
            }
        }
        self
    }

    /// Refuses a list without values; `hint` says what to do instead.
    pub fn filled(mut self, hint: &str) -> Self {
        if let Some((items, origin)) = &mut self.given
            && items.is_empty()
        {
            self.table.refuse(self.name, origin, Problem::new("the list is empty").help(hint));
            items.push(Err(origin.clone()));
        }
        self
    }

    /// Complains when it is not set; `hint` says what to write.
    pub fn required(self, hint: &str) -> Self {
        if self.given.is_none() {
            let message = format!("`{}` is missing in {}", self.name, self.table.section());
            self.table.reader().report_missing(Diagnostic::error(self.table.origin(), message).help(hint));
        }
        self
    }

    /// The values, unless one was refused or `check` names one that does not go with the others.
    pub fn check_all(
        self,
        check: impl FnOnce(&[Located<T>]) -> Option<(&Located<T>, Problem)>,
    ) -> Located<Vec<Located<T>>> {
        let (table, name) = (self.table, self.name);
        let mut values = self.optional();
        if values.sound
            && let Some((one, problem)) = check(&values.value)
        {
            table.refuse(name, &one.origin, problem);
            values.sound = false;
        }
        if !values.sound {
            values.value.clear();
        }
        values
    }

    /// The values, or the default.
    pub fn or(self, default: Vec<T>) -> Located<Vec<Located<T>>> {
        self.or_if_set(default, true)
    }

    /// The values; none when the key is not set, which is not the same as an empty list.
    pub fn optional(self) -> Located<Vec<Located<T>>> {
        self.or_if_set(Vec::new(), false)
    }

    fn or_if_set(self, default: Vec<T>, print_default: bool) -> Located<Vec<Located<T>>> {
        let Some((items, origin)) = self.given else {
            let value: Vec<_> = default.into_iter().map(Located::default).collect();
            let text = print_default.then(|| print(&value));
            self.table.record(self.name, text, Origin::Default, Vec::new());
            return Located::default(value);
        };
        let sound = items.iter().all(Result::is_ok);
        let value: Vec<_> = items.into_iter().filter_map(Result::ok).collect();
        if sound {
            let places = value.iter().map(|located| located.origin.clone()).collect();
            self.table.record(self.name, Some(print(&value)), origin.clone(), places);
        }
        Located { value, origin, sound }
    }
}

fn print<T: Shape>(values: &[Located<T>]) -> String {
    let texts: Vec<_> = values.iter().map(|located| located.value.print()).collect();
    format!("[{}]", texts.join(", "))
}

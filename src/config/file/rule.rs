//! A rule of `allow` and `deny`: a table in braces whose keys are those of [`Key`].

use std::ops::Range;

use toml::de::DeValue;

use crate::config::diagnostic::quoted;
use crate::config::reader::{Item, Problem, Shape, nearest, toml_string};
use crate::policy::{Condition, Key, Rule};

const FORM: &str = "a rule such as { san_dns = \"*.partner.example\" }";

impl Shape for Rule {
    fn read(item: &Item<'_>) -> Result<Self, Problem> {
        let Some(DeValue::Table(table)) = item.value() else { return Err(item.unexpected(FORM)) };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut conditions = Vec::new();
        for (name, value) in entries {
            let key = Key::named(name.get_ref()).ok_or_else(|| unknown(name.get_ref()).at(name.span()))?;
            let value = item.inside(value.get_ref(), value.span());
            conditions.push(condition(key, &value)?);
        }
        Self::new(conditions).ok_or_else(|| {
            Problem::new("the rule is empty, and would be met by every certificate").help(format!("write {FORM}"))
        })
    }

    fn print(&self) -> String {
        let print = |condition: &Condition| {
            let values: Vec<_> = condition.values().map(toml_string).collect();
            let value = match values.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            format!("{} = {value}", condition.key().as_str())
        };
        format!("{{ {} }}", self.conditions().iter().map(print).collect::<Vec<_>>().join(", "))
    }
}

fn condition(key: Key, item: &Item<'_>) -> Result<Condition, Problem> {
    let mut condition = Condition::new(key);
    let mut add = |item: &Item<'_>, span: Range<usize>| {
        let text = item.string("a string, or a list of them").map_err(|problem| match problem.span {
            None => problem.at(span.clone()),
            Some(_) => problem,
        })?;
        condition.add(&text).map_err(|error| {
            Problem::new(format!("{} is no value for `{}`", quoted(&text), key.as_str()))
                .help(error.to_string())
                .at(span)
        })
    };
    match item.value() {
        Some(DeValue::Array(values)) => {
            for value in values.iter() {
                add(&item.inside(value.get_ref(), value.span()), value.span())?;
            }
        }
        _ => add(item, item.span())?,
    }
    if condition.values().len() == 0 {
        return Err(Problem::new(format!("`{}` has no value", key.as_str())).at(item.span()));
    }
    Ok(condition)
}

fn unknown(name: &str) -> Problem {
    let problem = Problem::new(format!("a rule has no key {}", quoted(name)));
    match nearest(name, Key::ALL.into_iter().map(Key::as_str)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!("its keys are: {}", Key::ALL.map(Key::as_str).join(", "))),
    }
}

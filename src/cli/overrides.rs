//! The flags of `run` that `check` takes too, and their environment variables.
//!
//! The flags are made from the one list in `config`. Every value stays a text until the configuration is checked, so
//! that a bad flag, a bad variable and a bad line of the file are told together and in the same way.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, Loaded, OVERRIDABLE, Overrides, Source};

/// Which file to read, and what stands in for its values. Flatten it into a command's arguments.
#[derive(Debug, Clone, Default)]
pub struct RunFlags {
    file: Option<PathBuf>,
    overrides: Overrides,
}

impl RunFlags {
    /// The configuration file, if one was named.
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// What flags and variables say; a reload uses the same again.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// The same with an upstream, where neither file nor flags need name one.
    pub fn with_some_upstream(mut self) -> Self {
        if self.file.is_none() && self.overrides.of("upstream.url").is_empty() {
            self.overrides = self.overrides.set("upstream.url", "http://127.0.0.1:1");
        }
        self
    }

    /// Reads the file, and loads the configuration in this process's environment.
    pub fn load(&self) -> Loaded {
        let source = match self.file().map(|path| Source::read(path)).transpose() {
            Ok(source) => source,
            Err(diagnostic) => return Loaded::refused(diagnostic),
        };
        let environment = |name: &str| std::env::var(name).ok();
        config::load(source.as_ref(), self.overrides(), &environment, std::io::stdout().is_terminal())
    }
}

impl clap::Args for RunFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .short('c')
            .long("config")
            .env("GATEWAY_CONFIG")
            .value_name("FILE")
            .hide_env_values(true)
            // Paths are bytes, and an empty variable counts as not set: clap's parser for paths refuses both.
            .value_parser(ValueParser::os_string())
            .help("Configuration file (TOML); without one, flags and variables suffice");
        OVERRIDABLE.iter().fold(command.arg(file), |command, overridable| {
            let action = if overridable.repeatable { ArgAction::Append } else { ArgAction::Set };
            command.arg(
                Arg::new(overridable.flag)
                    .long(overridable.flag.trim_start_matches('-'))
                    .env(overridable.variable)
                    .hide_env_values(true)
                    .value_name(overridable.value_name)
                    .action(action)
                    .help(overridable.help),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for RunFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let file = matches.get_one::<OsString>(FILE).filter(|file| !file.is_empty()).map(PathBuf::from);
        let mut overrides = Overrides::default();
        for overridable in &OVERRIDABLE {
            let from_variable = matches.value_source(overridable.flag) == Some(ValueSource::EnvVariable);
            for text in matches.get_many::<String>(overridable.flag).into_iter().flatten() {
                overrides = if from_variable {
                    overrides.with_variable(overridable, text)
                } else {
                    overrides.with_flag(overridable, text)
                };
            }
        }
        Ok(Self { file, overrides })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const FILE: &str = "config";

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;
    use crate::config::Origin;

    fn parse(arguments: &[&str]) -> RunFlags {
        let command = RunFlags::augment_args(Command::new("gateway").no_binary_name(true));
        RunFlags::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
    }

    #[test]
    fn a_flag_becomes_an_override_that_knows_its_name() {
        let flags = parse(&["-c", "x.toml", "--listen", "a", "--listen", "b,c", "--upstream", ""]);
        assert_eq!(flags.file(), Some(&PathBuf::from("x.toml")));
        let listen = flags.overrides().of("listener.address");
        assert_eq!(listen.iter().map(|value| value.text.as_str()).collect::<Vec<_>>(), ["a", "b,c"]);
        assert!(listen.iter().all(|value| value.origin == Origin::Flag("--listen")));
        assert_eq!(flags.overrides().of("upstream.url").len(), 1, "an empty flag is a mistake, not an absence");
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        let command = RunFlags::augment_args(Command::new("gateway").no_binary_name(true));
        assert!(command.try_get_matches_from(["--listne", "a"]).is_err());
    }
}

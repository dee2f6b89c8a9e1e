//! From the settings of a connector to the configuration. Each part reads what it knows; the table of verdicts then says what
//! became of every setting of which no part said anything of its own.

mod chain;
mod converters;
mod http;
mod kafka;
mod log;
mod sink;
mod source;

use super::file::Section;
use super::given::{Given, Setting};
use super::report::{Finding, Group, Report};
use super::verdicts::{meant, verdict};

/// What a file became.
#[derive(Debug)]
pub struct Translation {
    /// The configuration.
    pub sections: Vec<Section>,
    /// What became of each key.
    pub report: Report,
}

/// Why nothing of a file can be translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Untranslatable {
    /// What was found.
    pub words: String,
    /// What to do.
    pub help: &'static str,
}

/// Translates a connector. `brokers` are Kafka's, where the command line names them.
///
/// # Errors
/// When it captures another database than PostgreSQL, or no outbox.
pub fn translate(given: &Given, brokers: &[String]) -> Result<Translation, Untranslatable> {
    source::check_class(given)?;
    let chain = chain::read(given)?;
    let mut translator = Translator {
        given,
        report: Report::default(),
    };
    for finding in &given.told {
        translator.report.tell(finding.clone());
    }
    let mut sections = vec![source::top(&mut translator), source::section(&mut translator, &chain)];
    sections.push(chain::section(&mut translator, &chain));
    sections.push(converters::section(&mut translator));
    let sink = sink::section(&mut translator, brokers);
    sections.extend(sink.sections);
    let mut route = Section::new("[[routes]]", "Which events go where: all of them.");
    route.put("name", "outbox");
    route.put("sink", sink.name);
    sections.push(route);
    sections.push(log::section(&mut translator));
    translator.judge_the_rest();
    Ok(Translation {
        sections,
        report: translator.report,
    })
}

/// The settings, and what was told of them so far.
struct Translator<'g> {
    given: &'g Given,
    report: Report,
}

impl<'g> Translator<'g> {
    /// Notes what became of a setting, where the table of verdicts does not say it.
    fn tell(&mut self, setting: &Setting, group: Group, text: impl Into<String>) {
        self.report.tell(Finding::new(&setting.key, group, text));
    }

    /// Notes what is missing in the file, by the key of the configuration.
    fn missing(&mut self, key: &str, text: impl Into<String>) {
        self.report.tell(Finding::new(key, Group::FillIn, text));
    }

    /// The value of a setting as the configuration has it.
    fn text(&mut self, setting: &Setting) -> String {
        self.changed(setting, str::to_owned)
    }

    /// The same with its literal parts changed.
    fn changed(&mut self, setting: &Setting, change: impl Fn(&str) -> String) -> String {
        for reference in setting.value.references() {
            self.report.variables.insert(reference.variable.clone());
            if let Some(stood_for) = &reference.stood_for {
                let words = format!("set {} to what `{stood_for}` stood for", reference.variable);
                self.tell(setting, Group::SetVariable, words);
            }
        }
        setting.value.configured(change)
    }

    /// A secret as the configuration has it: never the text itself, but the variable or the file that holds it.
    fn secret(&mut self, setting: &Setting, variable: &str) -> String {
        match setting.value.reference() {
            Some(reference) => match &reference.file {
                Some(file) => {
                    self.tell(setting, Group::Translated, format!("from the file {file}"));
                    format!("file:{file}")
                }
                None => {
                    self.tell(
                        setting,
                        Group::Translated,
                        format!("from the environment variable {}", reference.variable),
                    );
                    self.text(setting)
                }
            },
            None => {
                let words = format!("set {variable}; the value in the file is not repeated");
                self.tell(setting, Group::SetVariable, words);
                self.variable(variable)
            }
        }
    }

    /// A variable of our own choice.
    fn variable(&mut self, name: &str) -> String {
        self.report.variables.insert(name.to_owned());
        format!("${{{name}}}")
    }

    fn judge_the_rest(&mut self) {
        let given = self.given;
        for setting in &given.settings {
            if self.report.knows(&setting.key) {
                continue;
            }
            let own = ["converters", "post.processors"].into_iter().find_map(|list| {
                let aliases = given.list(list).into_iter();
                let mut aliases = aliases.filter(|alias| {
                    setting
                        .name
                        .strip_prefix(*alias)
                        .is_some_and(|rest| rest.starts_with('.'))
                });
                aliases.next()
            });
            let (group, text) = match (verdict(&setting.name), own) {
                (_, Some(alias)) => (
                    Group::NoCounterpart,
                    format!("an option of `{alias}`, a class of your own"),
                ),
                (Some(verdict), None) => {
                    let (group, text) = verdict.judge(setting.value.literal());
                    (group, text.to_owned())
                }
                (None, None) => (Group::NoCounterpart, unknown(&setting.name)),
            };
            self.tell(setting, group, text);
        }
        let keys: Vec<&str> = given.settings.iter().map(|setting| &*setting.key).collect();
        self.report.sort(&keys);
    }
}

fn unknown(name: &str) -> String {
    let near = meant(name).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    format!("neither Debezium nor Kafka has an option of this name{near}")
}

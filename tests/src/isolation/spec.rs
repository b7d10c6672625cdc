//! The text of a spec: PostgreSQL's format, and a little more.
//!
//! ```text
//! setup { SQL }                    before each permutation; any number of them
//! teardown { SQL }                 after it
//! isolation "read committed" …     each permutation runs at each of these levels; `:isolation` stands for it in SQL
//! outcome "serializable" …         at these levels the steps' results are not compared, only how many sessions failed, and the checks
//! check { SQL }                    asked at the end of each permutation
//! session name
//! setup { SQL }                    at the session's begin
//! step name { SQL }
//! teardown { SQL }
//! permutation step step …
//! ```

/// One step of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub sql: String,
}

/// A session with its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    pub name: String,
    pub setup: Option<String>,
    pub teardown: Option<String>,
    pub steps: Vec<Step>,
}

/// A spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    pub setups: Vec<String>,
    pub teardowns: Vec<String>,
    pub checks: Vec<String>,
    pub isolation: Vec<String>,
    pub outcome: Vec<String>,
    pub sessions: Vec<Session>,
    pub permutations: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Block(String),
}

impl Spec {
    /// Reads a spec; panics on one that is none.
    pub fn parse(text: &str) -> Self {
        let mut spec = Self::default();
        let mut tokens = tokens(text).into_iter().peekable();
        while let Some(token) = tokens.next() {
            let Token::Word(keyword) = token else { panic!("a block without a keyword: {token:?}") };
            let mut block = || match tokens.next() {
                Some(Token::Block(sql)) => sql,
                other => panic!("{keyword} without its block, but {other:?}"),
            };
            match (keyword.as_str(), spec.sessions.last_mut()) {
                ("setup", None) => spec.setups.push(block()),
                ("setup", Some(session)) => session.setup = Some(block()),
                ("teardown", None) => spec.teardowns.push(block()),
                ("teardown", Some(session)) => session.teardown = Some(block()),
                ("check", _) => spec.checks.push(block()),
                ("step", session) => {
                    let Some(Token::Word(name)) = tokens.next() else { panic!("a step without a name") };
                    let Some(Token::Block(sql)) = tokens.next() else { panic!("step {name} without its block") };
                    session.expect("a step belongs to a session").steps.push(Step { name, sql });
                }
                ("session", _) => {
                    let Some(Token::Word(name)) = tokens.next() else { panic!("a session without a name") };
                    spec.sessions.push(Session { name, ..Session::default() });
                }
                ("isolation" | "outcome" | "permutation", _) => {
                    let mut words = Vec::new();
                    while let Some(Token::Word(word)) = tokens.next_if(|token| matches!(token, Token::Word(word) if !is_keyword(word))) {
                        words.push(word);
                    }
                    match keyword.as_str() {
                        "isolation" => spec.isolation = words,
                        "outcome" => spec.outcome = words,
                        _ => spec.permutations.push(words),
                    }
                }
                _ => panic!("not a keyword of a spec: {keyword}"),
            }
        }
        for name in spec.permutations.iter().flatten() {
            assert!(spec.step(name).is_some(), "no step is called {name}");
        }
        spec
    }

    /// The session and the step of that name.
    pub fn step(&self, name: &str) -> Option<(usize, &Step)> {
        let all = self.sessions.iter().enumerate().flat_map(|(at, session)| session.steps.iter().map(move |step| (at, step)));
        all.into_iter().find(|(_, step)| step.name == name)
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "setup" | "teardown" | "check" | "step" | "session" | "isolation" | "outcome" | "permutation")
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '#' => (None, rest.find('\n').unwrap_or(rest.len())),
            '"' => {
                let end = rest[1..].find('"').expect("a quoted name ends");
                (Some(Token::Word(rest[1..=end].to_owned())), end + 2)
            }
            '{' => {
                let end = rest.find('}').expect("a block ends");
                (Some(Token::Block(rest[1..end].trim().to_owned())), end + 1)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(rest.len());
                (Some(Token::Word(rest[..end].to_owned())), end)
            }
        };
        tokens.extend(token);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_read() {
        let spec = Spec::parse(
            "# two sessions\nsetup { CREATE TABLE t (a int); }\nisolation \"read committed\" serializable\nsession one\nsetup { BEGIN; }\n\
             step \"r1\" { SELECT 1; } step c1 { COMMIT; }\nsession two step r2 { SELECT 2; }\npermutation r1 \"r2\" c1\npermutation r2 r1 c1",
        );
        assert_eq!(spec.isolation, ["read committed", "serializable"]);
        assert_eq!(spec.sessions[0].setup.as_deref(), Some("BEGIN;"));
        assert_eq!(spec.permutations, [["r1", "r2", "c1"], ["r2", "r1", "c1"]]);
        assert_eq!(spec.step("r2").map(|(session, step)| (session, step.sql.as_str())), Some((1, "SELECT 2;")));
    }
}

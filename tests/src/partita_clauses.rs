//! What Partita adds to CREATE TABLE and CREATE INDEX, taken out of a text, so that PostgreSQL accepts the rest:
//!
//! ```sql
//! CREATE TABLE t (a int PRIMARY KEY) PARTITION BY HASH (a) WITH (partitions = 8)    -- for PostgreSQL: CREATE TABLE t (a int PRIMARY KEY)
//! CREATE INDEX i ON t (b) PARTITION BY RANGE (b) SPLIT AT VALUES (10) WITH (scope = global, fillfactor = 70)
//!                                                                                    -- CREATE INDEX i ON t (b) WITH (fillfactor = 70)
//! ```

use std::ops::Range;

/// Storage parameters that PostgreSQL does not know.
const OPTIONS: [&str; 5] = ["partitions", "policy", "colocate_with", "scope", "maintenance"];

/// The text without Partita's clauses.
pub fn without_partita_clauses(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut removed = Vec::new();
    for statement in tokens.split(|token| token.text(sql) == ";") {
        let creates = statement.first().is_some_and(|t| t.is(sql, "CREATE"));
        if creates && statement.iter().take(4).any(|t| t.is(sql, "TABLE") || t.is(sql, "INDEX")) {
            collect_removed(sql, statement, &mut removed);
        }
    }
    let mut kept = String::with_capacity(sql.len());
    let mut at = 0;
    for Range { start, end } in removed {
        kept.push_str(sql[at..start].trim_end());
        at = end;
    }
    kept.push_str(&sql[at..]);
    kept
}

#[derive(Clone, Debug)]
struct Token {
    range: Range<usize>,
    /// How many parentheses are open around it.
    depth: usize,
}

impl Token {
    fn text<'a>(&self, sql: &'a str) -> &'a str {
        &sql[self.range.clone()]
    }

    fn is(&self, sql: &str, word: &str) -> bool {
        self.text(sql).eq_ignore_ascii_case(word)
    }
}

fn collect_removed(sql: &str, statement: &[Token], removed: &mut Vec<Range<usize>>) {
    let word = |at: usize, word: &str| statement.get(at).is_some_and(|t| t.depth == 0 && t.is(sql, word));
    let mut at = 0;
    while at < statement.len() {
        let start = statement[at].range.start;
        if word(at, "PARTITION") && word(at + 1, "BY") {
            let mut end = after_parentheses(sql, statement, at + 2);
            if word(end, "SPLIT") {
                end = after_parentheses(sql, statement, end);
            }
            removed.push(start..statement[end - 1].range.end);
            at = end;
        } else if word(at, "WITH") && statement.get(at + 1).is_some_and(|t| t.text(sql) == "(") {
            let end = after_parentheses(sql, statement, at);
            removed.extend(removed_options(sql, &statement[at..end]));
            at = end;
        } else {
            at += 1;
        }
    }
}

/// The place after the next parenthesised list.
fn after_parentheses(sql: &str, statement: &[Token], from: usize) -> usize {
    let closed = statement[from..].iter().position(|t| t.depth == 0 && t.text(sql) == ")");
    closed.map_or(statement.len(), |at| from + at + 1)
}

/// What is removed of `WITH ( … )`: all of it, or those options that are Partita's, each with a comma beside it.
fn removed_options(sql: &str, with: &[Token]) -> Vec<Range<usize>> {
    if with.len() < 4 {
        return Vec::new();
    }
    let options: Vec<&[Token]> = with[2..with.len() - 1].split(|t| t.text(sql) == ",").collect();
    let is_ours = |option: &[Token]| OPTIONS.iter().any(|name| option.first().is_some_and(|t| t.is(sql, name)));
    let range = |tokens: &[Token]| tokens[0].range.start..tokens[tokens.len() - 1].range.end;
    if options.iter().all(|option| is_ours(option)) {
        return vec![range(with)];
    }
    let mut removed = Vec::new();
    let mut kept_before = false;
    for (at, option) in options.iter().enumerate() {
        let own = range(option);
        if !is_ours(option) {
            kept_before = true;
        } else if kept_before {
            removed.push(range(options[at - 1]).end..own.end);
        } else {
            removed.push(own.start..range(options[at + 1]).start);
        }
    }
    removed
}

/// Words, strings and single characters; blanks and comments are left out.
fn tokens(sql: &str) -> Vec<Token> {
    let (mut tokens, mut depth, mut at) = (Vec::new(), 0_usize, 0);
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let length = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            token_length(rest, first)
        };
        let is_token = !first.is_whitespace() && !rest.starts_with("--") && !rest.starts_with("/*");
        if first == ')' {
            depth = depth.saturating_sub(1);
        }
        if is_token {
            tokens.push(Token { range: at..at + length, depth });
        }
        if first == '(' {
            depth += 1;
        }
        at += length;
    }
    tokens
}

fn token_length(rest: &str, first: char) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    match first {
        '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
        '$' => {
            let tag =
                rest[1..].find('$').map(|end| &rest[..end + 2]).filter(|tag| tag[1..tag.len() - 1].chars().all(char::is_alphanumeric));
            let end = tag.and_then(|tag| rest[tag.len()..].find(tag).map(|end| end + 2 * tag.len()));
            end.unwrap_or(1)
        }
        c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, kept: &str) {
        assert_eq!(without_partita_clauses(sql), kept);
    }

    #[test]
    fn clauses_go_and_the_rest_stays() {
        check("create table t (a int) partition by hash (a)", "create table t (a int)");
        check("CREATE TABLE t (a int)\nPARTITION BY HASH (a) WITH (partitions = 8)", "CREATE TABLE t (a int)");
        check(
            "create table t (a int, b text) partition by range (b, a) split at values (('x)', 1), ('y', 2)) with (policy = fixed); select 1",
            "create table t (a int, b text); select 1",
        );
        check("create unique index i on t (a) with (scope = global, maintenance = async)", "create unique index i on t (a)");
    }

    #[test]
    fn options_of_postgresql_stay() {
        check("create table t (a int) with (partitions = 3, fillfactor = 70)", "create table t (a int) with (fillfactor = 70)");
        check("create table t (a int) with (fillfactor = 70, partitions = 3)", "create table t (a int) with (fillfactor = 70)");
        let both = "create table t (a int) with (fillfactor=70, partitions=3, autovacuum_enabled=off, colocate_with='u')";
        check(both, "create table t (a int) with (fillfactor=70, autovacuum_enabled=off)");
        check("create index on t (a) with (fillfactor = 70)", "create index on t (a) with (fillfactor = 70)");
    }

    #[test]
    fn other_statements_stay_as_they_are() {
        for sql in [
            "select sum(a) over (partition by b) from t",
            "create table t as select sum(a) over (partition by b order by c) from u",
            "insert into t values ('create table t (a int) partition by hash (a)')",
            "create view partition as with q as (select 1) select * from q",
            "create table t (a text default 'partition by hash (a)', \"partition\" int) -- partition by hash (a)",
            "prepare p as select $1, $q$ partition by hash (a) $q$",
        ] {
            check(sql, sql);
        }
    }

    #[test]
    fn texts_that_are_cut_short_do_no_harm() {
        for sql in
            ["create table t (", "create table t partition by", "create table t with (", "create table t 'x", "create table t $a$ x", ""]
        {
            _ = without_partita_clauses(sql);
        }
    }
}

//! What a statement in the log may have done to a followed schema.
//!
//! Not a parser of SQL: it reads a statement's kind and the name behind it, and says "may
//! touch" where it does not know. With row format no statement changes rows, so whatever is
//! not known to leave rows alone counts as one that changes them, in whatever schema.

/// What is known of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// Begins a transaction or marks a place in it; changes nothing by itself.
    Harmless,
    /// Ends a transaction.
    Commit,
    /// Takes a transaction back, or a part of it: what stands before it in the log did not
    /// all happen.
    Rollback,
    /// Part of a distributed transaction; what it means stands in its transaction id.
    Distributed,
    /// Changes definitions, or rights.
    Definition(Definition),
    /// Changes rows, or may do so.
    Rows(String),
}

/// A change of definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// `ALTER TABLE`.
    pub(super) kind: String,
    class: Class,
    /// The schema named with the object, if any.
    schema: Option<String>,
    /// The object's name; empty if it was not found.
    pub(super) name: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Holds rows or is part of what does: every name in the statement counts.
    Table,
    /// Has a body, which may name any table and changes none.
    Body,
    Schema,
    /// An account: counts where it names the schema.
    Account,
    /// Rights: as an account, and where the schema is the default one.
    Rights,
}

const CLASSES: [(&str, Class); 16] = [
    ("TABLE", Class::Table),
    ("SEQUENCE", Class::Table),
    ("INDEX", Class::Table),
    ("TRIGGER", Class::Body),
    ("VIEW", Class::Body),
    ("PROCEDURE", Class::Body),
    ("FUNCTION", Class::Body),
    ("PACKAGE", Class::Body),
    ("EVENT", Class::Body),
    ("DATABASE", Class::Schema),
    ("SCHEMA", Class::Schema),
    ("USER", Class::Account),
    ("ROLE", Class::Account),
    ("SERVER", Class::Account),
    ("PASSWORD", Class::Account),
    ("TABLES", Class::Table),
];

/// How far into a statement its kind is looked for: a definer and options may stand before.
const HEAD: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(char),
}

/// Splits the begin of a statement; comments are left out, but what is in a comment that the
/// server executes is read.
fn tokens(text: &str, most: usize) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while found.len() < most {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { break };
        let after = |skip: usize, end: &str| {
            rest[skip..].find(end).map_or("", |at| &rest[skip + at + end.len()..])
        };
        if let Some(inner) = rest.strip_prefix("/*!").or_else(|| rest.strip_prefix("/*M!")) {
            rest = inner.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if let Some(inner) = rest.strip_prefix("*/") {
            rest = inner;
        } else if rest.starts_with("/*") {
            rest = after(2, "*/");
        } else if first == '#' || rest.starts_with("-- ") {
            rest = after(1, "\n");
        } else if matches!(first, '`' | '"' | '\'') {
            let (inner, behind) = quoted(&rest[1..], first);
            found.push(Token::Quoted(inner));
            rest = behind;
        } else if part_of_name(first) {
            let end = rest.find(|c: char| !part_of_name(c)).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            found.push(Token::Sign(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Reads up to the end of what is quoted; returns it as it is meant, and what is behind it.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut inner = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            inner.extend(chars.next().map(|(_, escaped)| escaped));
        } else if c != quote {
            inner.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            return (inner, &text[at + 1..]);
        }
    }
    (inner, "")
}

fn part_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn upper(token: Option<&Token>) -> String {
    match token {
        Some(Token::Word(word)) => word.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// Returns what is known of a statement.
pub(super) fn judge(text: &str) -> Statement {
    let tokens = tokens(text, HEAD);
    let (first, second) = (upper(tokens.first()), upper(tokens.get(1)));
    match first.as_str() {
        "" if tokens.is_empty() => Statement::Harmless,
        "SAVEPOINT" | "RELEASE" | "FLUSH" => Statement::Harmless,
        "BEGIN" if tokens.len() == 1 || second == "WORK" => Statement::Harmless,
        // `ANALYZE UPDATE` changes rows.
        "ANALYZE" | "OPTIMIZE" if second == "TABLE" => Statement::Harmless,
        // Settings for one statement, which stands behind them.
        "SET" if second == "STATEMENT" => behind_settings(text),
        "START" if second == "TRANSACTION" => Statement::Harmless,
        "COMMIT" => Statement::Commit,
        "ROLLBACK" => Statement::Rollback,
        "XA" => Statement::Distributed,
        // With row format nobody's temporary table comes into the log, only its end may.
        "DROP" if second == "TEMPORARY" => Statement::Harmless,
        "GRANT" | "REVOKE" => definition(&first, "", Class::Rights, &[], text),
        "TRUNCATE" => {
            let rest = usize::from(second == "TABLE") + 1;
            definition("TRUNCATE", "TABLE", Class::Table, &tokens[rest..], text)
        }
        "CREATE" | "ALTER" | "DROP" | "RENAME" | "REPAIR" => classed(&first, &tokens, text),
        "SET" if matches!(second.as_str(), "PASSWORD" | "DEFAULT") => {
            definition("SET", &second, Class::Account, &[], text)
        }
        "INSTALL" | "UNINSTALL" => definition(&first, "", Class::Account, &[], text),
        _ => Statement::Rows(first),
    }
}

/// Judges the statement behind `SET STATEMENT ... FOR`.
fn behind_settings(text: &str) -> Statement {
    let lower = text.to_ascii_lowercase();
    let word = |at: usize| {
        let around = |c: Option<char>| c.is_none_or(|c| !part_of_name(c));
        around(text[..at].chars().next_back()) && around(text[at + 3..].chars().next())
    };
    let found = lower.match_indices("for").map(|(at, _)| at).find(|at| word(*at));
    match found.map(|at| judge(&text[at + 3..])) {
        // Its settings are not among those that are carried over.
        Some(Statement::Definition(definition)) => Statement::Definition(Definition {
            kind: format!("SET STATEMENT {}", definition.kind),
            ..definition
        }),
        Some(judged) => judged,
        None => Statement::Rows("SET".to_owned()),
    }
}

fn classed(verb: &str, tokens: &[Token], text: &str) -> Statement {
    for (at, token) in tokens.iter().enumerate().skip(1) {
        let word = upper(Some(token));
        if let Some((name, class)) = CLASSES.iter().find(|(name, _)| *name == word) {
            // Several may be dropped at once, of several schemas.
            let class = if verb == "DROP" && *class == Class::Body { Class::Table } else { *class };
            return definition(verb, name, class, &tokens[at + 1..], text);
        }
    }
    definition(verb, "", Class::Table, &[], text)
}

fn definition(verb: &str, what: &str, class: Class, rest: &[Token], text: &str) -> Statement {
    let mut rest = rest;
    if what == "INDEX" {
        let on = rest.iter().position(|token| upper(Some(token)) == "ON");
        rest = on.map_or(&[], |at| &rest[at + 1..]);
    }
    while matches!(upper(rest.first()).as_str(), "IF" | "NOT" | "EXISTS" | "BODY") {
        rest = &rest[1..];
    }
    let name = |token: Option<&Token>| match token {
        Some(Token::Word(name) | Token::Quoted(name)) => Some(name.clone()),
        _ => None,
    };
    let (schema, name) = match (name(rest.first()), rest.get(1), name(rest.get(2))) {
        (schema, Some(Token::Sign('.')), Some(object)) => (schema, object),
        (object, _, _) => (None, object.unwrap_or_default()),
    };
    let kind = format!("{verb} {what}").trim_end().to_owned();
    Statement::Definition(Definition { kind, class, schema, name, text: text.to_owned() })
}

/// How a definition is carried out once more if it is not known whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// If its object is as it was before.
    IfUnchanged,
    /// Always: a second time changes nothing.
    Always,
    /// Always, of what is still there.
    IfThere,
}

/// An object that a definition makes, changes or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// The word behind `SHOW CREATE`.
    pub(super) kind: &'static str,
    pub(super) name: String,
}

/// Words of a table's definition that reach out of its schema, out of the server, or into a
/// second table.
const FAR: [&str; 6] = ["TABLESPACE", "DIRECTORY", "CONNECTION", "TEMPORARY", "UNION", "EXCHANGE"];

/// What gives rows that are there already another value at each server, as a new column's default.
const BY_CHANCE: [&str; 5] = ["UUID", "UUID_SHORT", "SYS_GUID", "RAND", "RANDOM_BYTES"];

/// The time: the log does not always tell its fraction, nor the zone, on which a column of these
/// types depends.
const CLOCK: [&str; 6] =
    ["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"];
const IN_ZONE: [&str; 3] = ["DATETIME", "DATE", "TIME"];

/// Returns whether rows may get other values than at the source.
fn fills_rows(tokens: &[Token]) -> bool {
    let any =
        |words: &[&str]| tokens.iter().any(|token| words.contains(&upper(Some(token)).as_str()));
    let fraction = tokens.windows(3).any(|three| match three {
        [Token::Word(_), Token::Sign('('), Token::Word(digits)] => {
            CLOCK.contains(&upper(three.first()).as_str()) && digits != "0"
        }
        _ => false,
    });
    any(&["ADD"]) && (any(&BY_CHANCE) || fraction || (any(&CLOCK) && any(&IN_ZONE)))
}

impl Definition {
    /// Returns what it is about and how often it may be carried out, if it can be at another
    /// server: it changes `schema` alone, and one object of it that has rows or a body.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn portable(
        &self,
        default: &str,
        schema: &str,
    ) -> Result<(Object, Again), &'static str> {
        if self.schema.as_deref().unwrap_or(default) != schema || self.name.is_empty() {
            return Err("it is not of this schema alone");
        }
        let mut words = self.kind.split(' ');
        let (verb, what) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let kind = match what {
            "TABLE" | "INDEX" => "TABLE",
            "SEQUENCE" => "SEQUENCE",
            "VIEW" => "VIEW",
            "TRIGGER" => "TRIGGER",
            "PROCEDURE" => "PROCEDURE",
            "FUNCTION" => "FUNCTION",
            _ => return Err("such an object is not carried over"),
        };
        let tokens = tokens(&self.text, usize::MAX);
        if matches!(what, "TABLE" | "INDEX" | "SEQUENCE") || verb == "DROP" {
            if tokens.iter().any(|token| FAR.contains(&upper(Some(token)).as_str())) {
                return Err("it reaches out of the schema");
            }
            let others = tokens.windows(2).any(|pair| match pair {
                // `DEFAULT 0.00`: only a quoted name may be a number.
                [Token::Word(name), Token::Sign('.')] => {
                    name != schema && !name.bytes().all(|byte| byte.is_ascii_digit())
                }
                [Token::Quoted(name), Token::Sign('.')] => name != schema,
                _ => false,
            });
            if others {
                return Err("it names another schema, or columns by their table");
            }
        }
        if verb == "ALTER" && what == "TABLE" && fills_rows(&tokens) {
            return Err("it gives rows a value that is another one at each server");
        }
        let again = match verb {
            "TRUNCATE" => Again::Always,
            "DROP" if what != "INDEX" => Again::IfThere,
            "CREATE" | "ALTER" | "DROP" => Again::IfUnchanged,
            "RENAME" if !tokens.contains(&Token::Sign(',')) => Again::IfUnchanged,
            _ => return Err("it is of several objects"),
        };
        Ok((Object { kind, name: self.name.clone() }, again))
    }

    /// Returns whether it may change what is in `schema`; `default` is its session's schema.
    pub(super) fn touches(&self, default: &str, schema: &str) -> bool {
        let by_default = default.eq_ignore_ascii_case(schema);
        let named = self.schema.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(schema));
        match self.class {
            Class::Table => by_default || named || mentions(&self.text, schema, true),
            Class::Body => named || (by_default && self.schema.is_none()),
            Class::Schema => by_default || mentions(&self.text, schema, false),
            Class::Account => mentions(&self.text, schema, true),
            Class::Rights => by_default || mentions(&self.text, schema, true),
        }
    }

    /// Returns its kind and object: ``ALTER TABLE of `orders` ``. Never its text, which may
    /// hold data.
    pub(super) fn shown(&self) -> String {
        match (self.class, self.name.as_str()) {
            (Class::Account | Class::Rights, _) | (_, "") => self.kind.clone(),
            (_, name) => format!("{} of `{name}`", self.kind),
        }
    }
}

/// Returns whether the text holds the schema's name as a name by itself, if `qualifying`
/// only where a dot may follow.
fn mentions(text: &str, schema: &str, qualifying: bool) -> bool {
    // Of the same length, so that places in one are places in the other.
    let (text, schema) = (text.to_ascii_lowercase(), schema.to_ascii_lowercase());
    let mut from = 0;
    while let Some(at) = text[from..].find(&schema) {
        let (begin, end) = (from + at, from + at + schema.len());
        from = begin + text[begin..].chars().next().map_or(1, char::len_utf8);
        let before = text[..begin].chars().next_back();
        let after = text[end..].chars().next();
        if before.is_some_and(part_of_name) || after.is_some_and(part_of_name) {
            continue;
        }
        let behind =
            text[end..].trim_start_matches(|c: char| matches!(c, '`' | '"') || c.is_whitespace());
        if !qualifying || behind.starts_with(['.', '/', '-', '#']) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;

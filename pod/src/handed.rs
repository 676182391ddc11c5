//! What stage0 hands to stage1 beside the lock: open descriptors, each under the name by which `pod.json` asks for it.

use std::str::FromStr;

/// Between two descriptors of a list; no name has it.
const SEPARATOR: &str = ":";

/// Descriptors as the value of an environment variable: `NUMBER=NAME`, in order, with `:` between them.
pub fn list_descriptors<'a>(all: impl IntoIterator<Item = (i32, &'a str)>) -> String {
    let one = |(number, name)| format!("{number}={name}");
    let all: Vec<_> = all.into_iter().map(one).collect();
    all.join(SEPARATOR)
}

/// What such a value says; `None` when it is not one.
#[must_use]
pub fn parse_descriptors<N: FromStr>(list: &str) -> Option<Vec<(i32, N)>> {
    let one = |text: &str| {
        let (number, name) = text.split_once('=')?;
        let number = number.parse().ok().filter(|number| *number >= 3)?;
        Some((number, name.parse().ok()?))
    };
    list.split(SEPARATOR).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SocketName;

    #[test]
    fn a_list_of_descriptors_is_read_as_it_was_written() {
        let text = list_descriptors([(7, "web"), (12, "a=b")]);
        let name = |name| SocketName::parse(name).unwrap();
        let read = parse_descriptors::<SocketName>(&text);
        assert_eq!(read, Some(vec![(7, name("web")), (12, name("a=b"))]));
        for bad in ["", "7", "7=", "x=a", "2=a", "7=a:", "7=a\n"] {
            assert_eq!(parse_descriptors::<SocketName>(bad), None, "{bad:?}");
        }
    }
}

//! Bodies as clients send them, good and bad.

use super::*;

const KNOWN: &[Field] = &[
    Field::new("title", Rule::Text(1, 5), Presence::Required, ""),
    Field::new("category_id", Rule::Id, Presence::Optional, ""),
    Field::new("tags", Rule::Ids(3), Presence::Optional, ""),
    Field::new("is_sticky", Rule::Flag, Presence::Optional, ""),
    Field::new("published_at", Rule::Moment, Presence::Clearable, ""),
    Field::new("status", Rule::Word(&["draft", "published"]), Presence::Optional, ""),
];

fn problems(json: &str) -> Vec<String> {
    let mut body = Body::parse(json.as_bytes(), KNOWN).unwrap();
    match body.finish() {
        Ok(()) => Vec::new(),
        Err(error) => error.fields().iter().map(|(name, message)| format!("{name} {message}")).collect(),
    }
}

#[test]
fn a_good_body_is_read_by_type() {
    let json = br#"{"title":"a","category_id":7,"tags":[2,1],"is_sticky":true,"published_at":null}"#;
    let mut body = Body::parse(json, KNOWN).unwrap();
    body.finish().unwrap();
    assert_eq!(body.text("title"), Given::Is("a".to_owned()));
    assert_eq!(body.id("category_id"), Given::Is(7));
    assert_eq!(body.ids("tags"), Given::Is(vec![2, 1]));
    assert_eq!(body.flag("is_sticky"), Given::Is(true));
    assert_eq!((body.moment("published_at"), body.text("status")), (Given::Null, Given::Absent));
}

#[test]
fn every_problem_of_a_body_is_found_in_one_go() {
    assert_eq!(
        problems(
            r#"{"title":"","category_id":0,"tags":[1,1],"is_sticky":"yes","published_at":"soon","status":null,"colour":1}"#
        ),
        [
            "title must have between 1 and 5 characters",
            "category_id must be an id: a whole number above 0",
            "tags must name each id once",
            "is_sticky must be true or false",
            "published_at must be a moment like \"2026-01-31T08:00:00+00:00\" or a date like \"2026-01-31\"",
            "status must not be null",
            "colour is not a field here; known: title, category_id, tags, is_sticky, published_at, status",
        ]
    );
    assert_eq!(problems("{}"), ["title is required"]);
    assert_eq!(problems(r#"{"title":null}"#), ["title is required"]);
    assert_eq!(problems(r#"{"title":"a","title":"b"}"#), ["title must be given only once"]);
}

#[test]
fn odd_values_are_problems_of_their_field() {
    for (json, expected) in [
        (r#"{"title":"a\u0000"}"#.to_owned(), "title must not contain control characters"),
        (r#"{"title":7}"#.to_owned(), "title must be a text"),
        (
            r#"{"title":"a","category_id":1.5}"#.to_owned(),
            "category_id must be an id: a whole number above 0",
        ),
        (
            r#"{"title":"a","category_id":99999999999999999999}"#.to_owned(),
            "category_id must be an id: a whole number above 0",
        ),
        (r#"{"title":"a","category_id":-1}"#.to_owned(), "category_id must be an id: a whole number above 0"),
        (format!(r#"{{"title":"a","tags":{:?}}}"#, vec![1; 1000]), "tags must have at most 3 ids"),
        (r#"{"title":"a","tags":[[1]]}"#.to_owned(), "tags must be a list of ids: whole numbers above 0"),
        (r#"{"title":"a","status":"Draft"}"#.to_owned(), "status must be one of: draft, published"),
    ] {
        assert_eq!(problems(&json), [expected], "{json}");
    }
}

#[test]
fn what_is_not_an_object_is_a_400_that_says_why() {
    let deep = format!("{{\"title\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for (bytes, expected) in [
        (&b""[..], "The body is not valid JSON: EOF while parsing a value at line 1 column 0."),
        (b"[1]", "The body must be a JSON object."),
        (b"{\"title\":\"\xff\"}", "The body is not valid UTF-8."),
        (b"{} {}", "The body is not valid JSON: trailing characters at line 1 column 4."),
        (b"{\"title\":1e999}", "The body is not valid JSON: number out of range at line 1 column 14."),
        (deep.as_bytes(), "The body is not valid JSON: it is nested more than 32 deep at line 1 column 41."),
    ] {
        let error = Body::parse(bytes, KNOWN).unwrap_err();
        assert_eq!((error.code(), error.public()), (Code::BadRequest, expected));
    }
}

#[test]
fn a_name_in_addresses_is_plain() {
    for (slug, expected) in [
        ("a-b-2", true),
        ("山", true),
        ("A", false),
        ("a b", false),
        ("-a", false),
        ("a/b", false),
        ("", false),
        ("a%", false),
    ] {
        assert_eq!(Rule::Slug(10).check(&slug.into()).is_ok(), expected, "{slug}");
    }
}

#[test]
fn an_address_is_on_the_web_or_on_this_site() {
    for (address, expected) in [
        ("https://img.example.com/a.jpg", true),
        ("/a.jpg", true),
        ("//elsewhere.example.com", false),
        ("javascript:x()", false),
        ("/a b", false),
    ] {
        assert_eq!(Rule::Address(255).check(&address.into()).is_ok(), expected, "{address}");
    }
}

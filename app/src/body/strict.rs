//! Decides what is JSON to us: valid UTF-8, one object, no name twice at any depth, no nesting without end.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::ApiError;

/// The deepest nesting that is read.
const DEPTH: usize = 32;

/// An object, and the names that were given more than once anywhere in it.
pub(super) struct Object {
    pub(super) members: Map<String, Value>,
    pub(super) repeated: Vec<String>,
}

pub(super) fn object(bytes: &[u8]) -> Result<Object, ApiError> {
    if std::str::from_utf8(bytes).is_err() {
        return Err(ApiError::bad_request("The body is not valid UTF-8."));
    }
    let repeated = RefCell::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { repeated: &repeated, left: DEPTH }.deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    match value {
        Ok(Value::Object(members)) => Ok(Object { members, repeated: repeated.into_inner() }),
        Ok(_) => Err(ApiError::bad_request("The body must be a JSON object.")),
        Err(error) => Err(ApiError::bad_request(format!("The body is not valid JSON: {error}."))),
    }
}

#[derive(Clone, Copy)]
struct Strict<'n> {
    repeated: &'n RefCell<Vec<String>>,
    left: usize,
}

impl Strict<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("it is nested more than {DEPTH} deep")))?;
        Ok(Self { left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(below)?;
            if members.contains_key(&name) {
                let mut repeated = self.repeated.borrow_mut();
                if repeated.len() >= DEPTH {
                    return Err(A::Error::custom("many names are given more than once"));
                }
                repeated.push(name);
            } else {
                members.insert(name, value);
            }
        }
        Ok(Value::Object(members))
    }
}

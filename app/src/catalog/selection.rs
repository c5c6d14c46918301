//! Decides what `fields` and `include` ask for of a category, a tag or an author.

use super::Kind;
use crate::fields::Fields;
use crate::query::{Params, Rule, Spec, names, shown};

/// `fields`.
pub const fn fields<K: Kind>() -> Spec {
    Spec::new("fields", Rule::List(all_fields::<K>), "Shows only these fields, with commas between them.")
}
/// `include` of categories.
pub const INCLUDE: Spec = Spec::new(
    "include",
    Rule::List(all_relations),
    "Shows these relations, with commas between them: parent, children (at most 1000 for a whole page).",
);

/// The word for the links.
const LINKS: &str = "_links";
const RELATIONS: [&str; 2] = ["parent", "children"];

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Fields of the thing itself.
    pub fields: Fields,
    /// Whether its links are shown.
    pub links: bool,
    /// Fields of the one above, where that is shown.
    pub parent: Option<Fields>,
    /// Fields of those below, where these are shown.
    pub children: Option<Fields>,
}

impl Selection {
    /// Everything, without relations.
    pub fn whole<K: Kind>() -> Self {
        Self { fields: Fields::all::<K>(), links: true, ..Self::default() }
    }

    /// Everything, with the relations.
    pub fn family<K: Kind>() -> Self {
        let relation = K::PARENT.map(|_| Fields::first(K::NESTED));
        Self { parent: relation, children: relation, ..Self::whole::<K>() }
    }

    /// What `fields` and `include` ask for; `usual` when neither was given. The rules are those of posts.
    pub fn from_params<K: Kind>(params: &mut Params, usual: Self) -> Self {
        let mut list = |name| {
            let names = params.text(name).map(names)?;
            params.rewrite(name, names.join(","));
            Some(names)
        };
        let (fields, include) = (list("fields"), list("include"));
        let mut selection = match (&fields, &include) {
            (None, None) => return usual,
            (None, Some(_)) => Self::whole::<K>(),
            (Some(_), _) => Self::default(),
        };
        for name in fields.into_iter().flatten() {
            if !selection.add::<K>(&name) {
                params.problem("fields", unknown_field::<K>(&name));
            }
        }
        for name in include.into_iter().flatten() {
            match selection.relation(&name) {
                Some(relation) => *relation = Some(Fields::first(K::NESTED)),
                None => params.problem(
                    "include",
                    format!("`{}` cannot be included; known: parent, children", shown(&name)),
                ),
            }
        }
        selection
    }

    fn add<K: Kind>(&mut self, name: &str) -> bool {
        let position = |name: &str| K::FIELDS.iter().position(|known| *known == name);
        if name == LINKS {
            self.links = true;
        } else if let Some(position) = position(name) {
            self.fields.insert(position);
        } else if K::PARENT.is_none() {
            return false;
        } else if let Some(relation) = self.relation(name) {
            *relation = Some(Fields::first(K::NESTED));
        } else {
            let Some((of, field)) = name.split_once('.') else { return false };
            let position = position(field).filter(|position| *position < K::NESTED);
            let (Some(relation), Some(position)) = (self.relation(of), position) else { return false };
            relation.get_or_insert_default().insert(position);
        }
        true
    }

    fn relation(&mut self, name: &str) -> Option<&mut Option<Fields>> {
        match name {
            "parent" => Some(&mut self.parent),
            "children" => Some(&mut self.children),
            _ => None,
        }
    }

    /// What is read: what is shown, the name where links need it, and what leads to the one above.
    pub fn read<K: Kind>(&self) -> Fields {
        let mut fields = self.fields;
        if self.links {
            fields.insert(K::NAME);
        }
        if let Some(position) = K::PARENT.filter(|_| self.parent.is_some()) {
            fields.insert(position);
        }
        fields
    }
}

/// Everything that `fields` may name.
fn all_fields<K: Kind>() -> Vec<String> {
    let relations: &[&str] = if K::PARENT.is_some() { &RELATIONS } else { &[] };
    let nested = relations.iter().flat_map(|relation| {
        let fields = K::FIELDS[..K::NESTED].iter().map(move |field| format!("{relation}.{field}"));
        std::iter::once((*relation).to_owned()).chain(fields)
    });
    K::FIELDS.iter().chain(&[LINKS]).map(|name| (*name).to_owned()).chain(nested).collect()
}

fn all_relations() -> Vec<String> {
    RELATIONS.iter().map(|name| (*name).to_owned()).collect()
}

fn unknown_field<K: Kind>(name: &str) -> String {
    let relations: &[&str] = if K::PARENT.is_some() { &["parent", "children"] } else { &[] };
    let known: Vec<&str> = K::FIELDS.iter().chain(&[LINKS]).chain(relations).copied().collect();
    format!("`{}` is not a field; known: {}", shown(name), known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::categories::Category;
    use crate::tags::Tag;

    fn selection<K: Kind>(query: &str) -> Result<Selection, Vec<(String, String)>> {
        let mut params = Params::parse(Some(query), &[fields::<K>(), INCLUDE]);
        let selection = Selection::from_params::<K>(&mut params, Selection::whole::<K>());
        params.finish().map(|()| selection).map_err(|problems| problems.0)
    }

    #[test]
    fn only_what_is_shown_is_read() {
        let read = |query| {
            let fields = selection::<Category>(query).unwrap().read::<Category>();
            fields.iter().collect::<Vec<_>>()
        };
        assert_eq!(read("fields=name"), [1]);
        assert_eq!(read("fields=name,_links"), [1, 2]);
        assert_eq!(read("fields=name,parent.name"), [1, 10]);
        assert_eq!(read("fields=name&include=children"), [1]);
    }

    #[test]
    fn only_categories_nest() {
        assert!(selection::<Category>("fields=id,children.slug,parent").is_ok());
        let problems = selection::<Tag>("fields=parent,email").unwrap_err();
        assert_eq!(problems[0].1, "`email` is not a field; known: id, name, slug, type, color, _links");
        assert_eq!(problems.len(), 2);
    }
}

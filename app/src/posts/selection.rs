//! Decides what `fields` and `include` ask for, and which columns that takes.

use super::{Column, Columns};
use crate::authors::Author;
use crate::categories::Category;
use crate::fields::{Fields, Resource};
use crate::posts::v2::V2Post;
use crate::query::{Params, Rule, Spec, names, shown};
use crate::tags::Tag;
use crate::{authors, categories};

/// Something that belongs to a post and is only read when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Its category.
    Category,
    /// The category above that.
    Parent,
    /// Its author.
    Author,
    /// Its tags.
    Tags,
}

impl Relation {
    /// What a client writes for each.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("category", Self::Category),
        ("category.parent", Self::Parent),
        ("author", Self::Author),
        ("tags", Self::Tags),
    ];

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Category | Self::Parent => &Category::FIELDS[..categories::NESTED],
            Self::Author => Author::FIELDS,
            Self::Tags => Tag::FIELDS,
        }
    }
}

/// The word for the links of a post.
const LINKS: &str = "_links";

/// `fields`.
pub const FIELDS: Spec = Spec::new(
    "fields",
    Rule::List(all_fields),
    "Shows only these fields, with commas between them; `author.name` is one field of the author.",
);
/// `include`.
pub const INCLUDE: Spec = Spec::new(
    "include",
    Rule::List(all_relations),
    "Shows these relations, with commas between them: category, category.parent, author, tags.",
);

/// What is shown of a post and of what belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Fields of the post itself.
    pub fields: Fields,
    /// Whether its links are shown.
    pub links: bool,
    /// Fields of its category, where that is shown.
    pub category: Option<Fields>,
    /// Fields of the category above that, where that is shown.
    pub parent: Option<Fields>,
    /// Fields of its author, where that is shown.
    pub author: Option<Fields>,
    /// Fields of its tags, where these are shown.
    pub tags: Option<Fields>,
}

impl Selection {
    /// Everything there is of a post, with these relations.
    pub fn whole(relations: &[Relation]) -> Self {
        let mut selection = Self { fields: Fields::all::<V2Post<'_>>(), links: true, ..Self::default() };
        for relation in relations {
            selection.include(*relation);
        }
        selection
    }

    /// What `fields` and `include` ask for.
    ///
    /// - Neither: everything, with the relations of `usual`.
    /// - `include`: everything, with exactly these relations.
    /// - `fields`: exactly these fields; `author` among them brings the author, `author.name` only the name.
    /// - Both: the union.
    pub fn from_params(params: &mut Params, usual: &[Relation]) -> Self {
        let mut list = |name| {
            let names = params.text(name).map(names)?;
            params.rewrite(name, names.join(","));
            Some(names)
        };
        let (fields, include) = (list("fields"), list("include"));
        let mut selection = match (&fields, &include) {
            (None, None) => return Self::whole(usual),
            (None, Some(_)) => Self::whole(&[]),
            (Some(_), _) => Self::default(),
        };
        for name in fields.into_iter().flatten() {
            if !selection.add(&name) {
                params.problem("fields", unknown_field(&name));
            }
        }
        for name in include.into_iter().flatten() {
            match relation(&name) {
                Some(relation) => selection.include(relation),
                None => params.problem("include", unknown_relation(&name)),
            }
        }
        selection
    }

    /// Adds a field, a whole relation, or one field of a relation; says whether there is such a thing.
    fn add(&mut self, name: &str) -> bool {
        if name == LINKS {
            self.links = true;
        } else if let Some(position) = position(V2Post::FIELDS, name) {
            self.fields.insert(position);
        } else if let Some(relation) = relation(name) {
            self.include(relation);
        } else {
            let nested = name.rsplit_once('.').and_then(|(of, field)| {
                let relation = relation(of)?;
                Some((relation, position(relation.fields(), field)?))
            });
            let Some((relation, position)) = nested else { return false };
            self.part(relation).get_or_insert_default().insert(position);
            if relation == Relation::Parent {
                self.category.get_or_insert_default();
            }
        }
        true
    }

    fn include(&mut self, relation: Relation) {
        *self.part(relation) = Some(Fields::first(relation.fields().len()));
        if relation == Relation::Parent {
            self.include(Relation::Category);
        }
    }

    fn part(&mut self, relation: Relation) -> &mut Option<Fields> {
        match relation {
            Relation::Category => &mut self.category,
            Relation::Parent => &mut self.parent,
            Relation::Author => &mut self.author,
            Relation::Tags => &mut self.tags,
        }
    }

    /// The columns this takes, and no others. The id is always read: it is the end of every order.
    pub fn columns(&self) -> Columns {
        let mut columns = Columns::of(&[Column::Id]);
        for field in self.fields.iter() {
            columns.insert(V2Post::COLUMNS[field]);
        }
        if self.links {
            columns.insert(Column::Slug);
        }
        if self.category.is_some() {
            columns.insert(Column::CategoryId);
        }
        if self.author.is_some() {
            columns.insert(Column::AuthorId);
        }
        columns
    }

    /// What is read of the category: what is shown, the slug where links need it, and what leads to its parent.
    pub fn category_read(&self) -> Option<Fields> {
        let mut fields = self.category?;
        if self.links {
            fields.insert(categories::SLUG);
        }
        if self.parent.is_some() {
            fields.insert(categories::PARENT_ID);
        }
        Some(fields)
    }

    /// What is read of the author: what is shown, and the user name where links need it.
    pub fn author_read(&self) -> Option<Fields> {
        self.author.map(|fields| if self.links { fields.with(authors::USERNAME) } else { fields })
    }
}

/// Everything that `fields` may name.
fn all_fields() -> Vec<String> {
    let relations = Relation::WORDS.iter().flat_map(|(word, relation)| {
        let nested = relation.fields().iter().map(move |field| format!("{word}.{field}"));
        std::iter::once((*word).to_owned()).chain(nested)
    });
    let own = V2Post::FIELDS.iter().chain(&[LINKS]).map(|name| (*name).to_owned());
    own.chain(relations).collect()
}

/// Everything that `include` may name.
fn all_relations() -> Vec<String> {
    Relation::WORDS.iter().map(|(word, _)| (*word).to_owned()).collect()
}

fn relation(name: &str) -> Option<Relation> {
    Relation::WORDS.iter().find(|(word, _)| *word == name).map(|(_, relation)| *relation)
}

fn position(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

fn unknown_field(name: &str) -> String {
    let relations = Relation::WORDS
        .iter()
        .map(|(word, relation)| format!("{word} ({word}.{})", relation.fields().join(&format!(", {word}."))));
    let known: Vec<String> = V2Post::FIELDS
        .iter()
        .map(|field| (*field).to_owned())
        .chain(std::iter::once(LINKS.to_owned()))
        .chain(relations)
        .collect();
    format!("`{}` is not a field; known: {}", shown(name), known.join(", "))
}

fn unknown_relation(name: &str) -> String {
    let known: Vec<&str> = Relation::WORDS.iter().map(|(word, _)| *word).collect();
    format!("`{}` cannot be included; known: {}", shown(name), known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Spec] = &[FIELDS, INCLUDE];

    fn selection(query: &str) -> Result<Selection, Vec<(String, String)>> {
        let mut params = Params::parse(Some(query), KNOWN);
        let selection = Selection::from_params(&mut params, &[Relation::Category, Relation::Author]);
        params.finish().map(|()| selection).map_err(|problems| problems.0)
    }

    fn columns(query: &str) -> Vec<&'static str> {
        selection(query).unwrap().columns().iter().map(Column::name).collect()
    }

    #[test]
    fn only_the_columns_that_are_shown_are_read() {
        assert_eq!(columns("fields=id,title"), ["id", "title"]);
        assert_eq!(columns("fields=title"), ["id", "title"]);
        assert_eq!(columns("fields=_links"), ["id", "slug"]);
        assert_eq!(columns("fields=title,author.name"), ["id", "title", "author_id"]);
        assert_eq!(columns("fields=title&include=category"), ["id", "title", "category_id"]);
        assert!(!columns("").contains(&"seo_title"));
    }

    #[test]
    fn relations_come_by_default_by_include_or_by_field() {
        let relations = |query| {
            let selection = selection(query).unwrap();
            (selection.category.is_some(), selection.author.is_some(), selection.tags.is_some())
        };
        assert_eq!(relations(""), (true, true, false));
        assert_eq!(relations("include=tags"), (false, false, true));
        assert_eq!(relations("fields=id"), (false, false, false));
        assert_eq!(relations("fields=id,author.name"), (false, true, false));
        assert_eq!(relations("fields=id,tags&include=category"), (true, false, true));
    }

    #[test]
    fn the_category_above_brings_the_one_between() {
        let whole = selection("include=category.parent").unwrap();
        assert_eq!(whole.category, Some(Fields::first(categories::NESTED)));
        assert_eq!(whole.parent, whole.category);
        let part = selection("fields=category.parent.name").unwrap();
        assert_eq!((part.category, part.parent), (Some(Fields::default()), Some(Fields::default().with(1))));
        assert_eq!(part.category_read(), Some(Fields::default().with(categories::PARENT_ID)));
    }

    #[test]
    fn a_nested_field_brings_only_itself() {
        let author = selection("fields=author.name").unwrap().author.unwrap();
        assert_eq!(author.iter().collect::<Vec<_>>(), [1]);
        let both = selection("fields=author.name&include=author").unwrap().author.unwrap();
        assert_eq!(both, Fields::all::<Author>());
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let problems = selection("fields=id,titel,author.email&include=comments").unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(problems[0].1.starts_with("`author.email` is not a field"), "{problems:?}");
        assert!(problems[1].1.starts_with("`titel` is not a field; known: id, title, slug"), "{problems:?}");
        assert_eq!(
            problems[2].1,
            "`comments` cannot be included; known: category, category.parent, author, tags"
        );
    }
}

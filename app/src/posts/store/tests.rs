//! The statements as the database sees them, and the indexes it answers them with.

use super::*;
use crate::db::dialect::BUILDER;
use crate::page::cursor::Way;
use crate::posts::Column;
use crate::posts::filter::Which;

const NOW: Moment = Moment(1000);

fn list(sort: Sort, direction: Direction, columns: &[Column]) -> List {
    List { filter: Filter::default(), order: Order { sort, direction }, columns: Columns::of(columns) }
}

fn newest(columns: &[Column]) -> List {
    list(Sort::PublishedAt, Direction::Descending, columns)
}

#[test]
fn fields_id_and_title_read_only_what_they_need() {
    let list = newest(&[Column::Id, Column::Title]);
    let (select, _) = keyset_statement(&list, 20, None, NOW);
    assert_eq!(
        select.to_string(BUILDER),
        "SELECT \"id\", \"title\", \"published_at\" FROM \"posts\" WHERE \"status\" = 'published' \
         AND \"deleted_at\" IS NULL AND \"published_at\" <= 1000 \
         ORDER BY \"published_at\" DESC, \"id\" DESC LIMIT 21"
    );
}

#[test]
fn a_later_page_seeks_to_its_place() {
    let list = newest(&[Column::Id]);
    let place = Place { way: Way::After, key: 900, id: 7 };
    let (select, _) = keyset_statement(&list, 5, Some(&place), NOW);
    assert_eq!(
        select.to_string(BUILDER),
        "SELECT \"id\", \"published_at\" FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
         AND (\"published_at\", \"id\") < (900, 7) ORDER BY \"published_at\" DESC, \"id\" DESC LIMIT 6"
    );
    let before = Place { way: Way::Before, ..place };
    let (select, _) = keyset_statement(&list, 5, Some(&before), NOW);
    assert_eq!(
        select.to_string(BUILDER),
        "SELECT \"id\", \"published_at\" FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
         AND \"published_at\" <= 1000 AND (\"published_at\", \"id\") > (900, 7) \
         ORDER BY \"published_at\" ASC, \"id\" ASC LIMIT 6"
    );
}

#[test]
fn filters_by_name_are_looked_up_in_the_same_statement() {
    let filter = Filter {
        category: Some(Which::Name("towers".into())),
        tag: Some(Which::Id(3)),
        is_featured: Some(true),
        ..Filter::default()
    };
    assert_eq!(
        count_statement(&filter, NOW).to_string(BUILDER),
        "SELECT COUNT(\"posts\".\"id\") FROM \"posts\" WHERE \"status\" = 'published' AND \"deleted_at\" IS NULL \
         AND \"published_at\" <= 1000 \
         AND \"category_id\" = (SELECT \"categories\".\"id\" FROM \"categories\" WHERE \"categories\".\"slug\" = 'towers') \
         AND EXISTS(SELECT 1 FROM \"post_tags\" WHERE \"post_tags\".\"post_id\" = \"posts\".\"id\" \
         AND \"post_tags\".\"tag_id\" = 3) AND \"is_featured\" = TRUE"
    );
}

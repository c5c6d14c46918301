<?php
// The first page of posts as a PHP programmer would write it without a framework: what cirque's v1 answers, uncached.
$db = new PDO($_SERVER['BENCH_DSN'], $_SERVER['BENCH_USER'] ?? null, null, [
    PDO::ATTR_PERSISTENT => true,
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
]);
$now = (int) (microtime(true) * 1000);
$page = max(1, (int) ($_GET['page'] ?? 1));
$size = min(50, max(1, (int) ($_GET['per_page'] ?? 15)));
$public = "p.status = 'published' AND p.deleted_at IS NULL AND p.published_at <= ?";
$count = $db->prepare("SELECT count(*) FROM posts p WHERE $public");
$count->execute([$now]);
$total = (int) $count->fetchColumn();
$list = $db->prepare(
    "SELECT p.*, c.name AS c_name, c.slug AS c_slug, c.description AS c_description, c.sort_order AS c_sort_order,
            c.parent_id AS c_parent_id, c.created_at AS c_created_at, c.updated_at AS c_updated_at,
            a.name AS a_name, a.username AS a_username, a.avatar AS a_avatar, a.bio AS a_bio
       FROM posts p JOIN categories c ON c.id = p.category_id JOIN authors a ON a.id = p.author_id
      WHERE $public ORDER BY p.published_at DESC, p.id DESC LIMIT ? OFFSET ?"
);
$list->bindValue(1, $now, PDO::PARAM_INT);
$list->bindValue(2, $size, PDO::PARAM_INT);
$list->bindValue(3, ($page - 1) * $size, PDO::PARAM_INT);
$list->execute();
$rows = $list->fetchAll();
$tags = [];
if ($rows) {
    $marks = implode(',', array_fill(0, count($rows), '?'));
    $ask = $db->prepare("SELECT pt.post_id, t.id, t.name, t.slug FROM post_tags pt JOIN tags t ON t.id = pt.tag_id WHERE pt.post_id IN ($marks) ORDER BY t.name");
    $ask->execute(array_column($rows, 'id'));
    foreach ($ask as $tag) {
        $tags[$tag['post_id']][] = ['id' => (int) $tag['id'], 'name' => $tag['name'], 'slug' => $tag['slug'], 'type' => 'post', 'color' => null];
    }
}
$moment = fn (?int $ms) => $ms === null ? null : gmdate('Y-m-d\TH:i:sP', intdiv($ms, 1000));
$data = array_map(fn (array $p) => [
    'id' => (int) $p['id'], 'title' => $p['title'], 'slug' => $p['slug'], 'excerpt' => $p['excerpt'], 'content' => $p['content'],
    'featured_image' => $p['featured_image'], 'type' => $p['type'], 'status' => $p['status'],
    'is_featured' => (bool) $p['is_featured'], 'is_sticky' => (bool) $p['is_sticky'],
    'view_count' => (int) $p['view_count'], 'reading_time' => (int) $p['reading_time'],
    'published_at' => $moment($p['published_at']), 'scheduled_at' => $moment($p['scheduled_at']),
    'seo' => ['title' => $p['seo_title'], 'description' => $p['seo_description'], 'keywords' => $p['seo_keywords'], 'og_image' => $p['seo_image']],
    'category' => [
        'id' => (int) $p['category_id'], 'name' => $p['c_name'], 'slug' => $p['c_slug'], 'description' => $p['c_description'],
        'sort_order' => (int) $p['c_sort_order'], 'parent_id' => $p['c_parent_id'],
        'created_at' => $moment($p['c_created_at']), 'updated_at' => $moment($p['c_updated_at']),
    ],
    'author' => ['id' => (int) $p['author_id'], 'name' => $p['a_name'], 'username' => $p['a_username'], 'avatar' => $p['a_avatar'], 'bio' => $p['a_bio']],
    'tags' => $tags[$p['id']] ?? [],
    'created_at' => $moment($p['created_at']), 'updated_at' => $moment($p['updated_at']),
    'links' => [
        'self' => '/api/v1/posts/' . $p['slug'], 'category' => '/api/v1/categories/' . $p['c_slug'], 'author' => '/api/v1/authors/' . $p['a_username'],
    ],
], $rows);
header('Content-Type: application/json');
echo json_encode(['data' => $data, 'meta' => ['current_page' => $page, 'per_page' => $size, 'total' => $total, 'last_page' => (int) ceil($total / $size)]]);

// The first page of posts in Fastify over PostgreSQL: what cirque's v1 answers, uncached.
'use strict'
const [port, url] = process.argv.slice(2)
const app = require('fastify')({ logger: false })

const open = "p.status = 'published' AND p.deleted_at IS NULL AND p.published_at <= "
const COUNT = `SELECT count(*) AS total FROM posts p WHERE ${open}$1`
const LIST = `SELECT p.*, c.name AS c_name, c.slug AS c_slug, c.description AS c_description, c.sort_order AS c_sort_order,
  c.parent_id AS c_parent_id, c.created_at AS c_created_at, c.updated_at AS c_updated_at,
  a.name AS a_name, a.username AS a_username, a.avatar AS a_avatar, a.bio AS a_bio
  FROM posts p JOIN categories c ON c.id = p.category_id JOIN authors a ON a.id = p.author_id
  WHERE ${open}$1 ORDER BY p.published_at DESC, p.id DESC LIMIT $2 OFFSET $3`
const tagsOf = (count) => {
  const marks = Array.from({ length: count }, (_, place) => `$${place + 1}`).join(',')
  return `SELECT pt.post_id, t.id, t.name, t.slug FROM post_tags pt JOIN tags t ON t.id = pt.tag_id
    WHERE pt.post_id IN (${marks}) ORDER BY t.name`
}

const { Pool, types } = require('pg')
types.setTypeParser(20, Number)
const pool = new Pool({ connectionString: url, max: 8 })
// Named, so that a statement is planned once for each connection.
const ask = async (text, values) => (await pool.query({ name: text.slice(0, 40) + values.length, text, values })).rows
const moment = (ms) => (ms === null ? null : new Date(Number(ms)).toISOString().slice(0, 19) + '+00:00')
const shape = (p, tags) => ({
  id: p.id, title: p.title, slug: p.slug, excerpt: p.excerpt, content: p.content, featured_image: p.featured_image,
  type: p.type, status: p.status, is_featured: Boolean(p.is_featured), is_sticky: Boolean(p.is_sticky),
  view_count: p.view_count, reading_time: p.reading_time, published_at: moment(p.published_at), scheduled_at: moment(p.scheduled_at),
  seo: { title: p.seo_title, description: p.seo_description, keywords: p.seo_keywords, og_image: p.seo_image },
  category: {
    id: p.category_id, name: p.c_name, slug: p.c_slug, description: p.c_description, sort_order: p.c_sort_order,
    parent_id: p.c_parent_id, created_at: moment(p.c_created_at), updated_at: moment(p.c_updated_at)
  },
  author: { id: p.author_id, name: p.a_name, username: p.a_username, avatar: p.a_avatar, bio: p.a_bio },
  tags, created_at: moment(p.created_at), updated_at: moment(p.updated_at),
  links: { self: `/api/v1/posts/${p.slug}`, category: `/api/v1/categories/${p.c_slug}`, author: `/api/v1/authors/${p.a_username}` }
})

app.get('/api/v1/posts', async (request) => {
  const page = Math.max(1, Number(request.query.page ?? 1))
  const size = Math.min(50, Math.max(1, Number(request.query.per_page ?? 15)))
  const now = Date.now()
  const [{ total }] = await ask(COUNT, [now])
  const rows = await ask(LIST, [now, size, (page - 1) * size])
  const tags = new Map(rows.map((row) => [row.id, []]))
  if (rows.length > 0) {
    for (const tag of await ask(tagsOf(rows.length), rows.map((row) => row.id))) {
      tags.get(tag.post_id).push({ id: tag.id, name: tag.name, slug: tag.slug, type: 'post', color: null })
    }
  }
  return {
    data: rows.map((row) => shape(row, tags.get(row.id))),
    meta: { current_page: page, per_page: size, total, last_page: Math.ceil(total / size) }
  }
})

app.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 })

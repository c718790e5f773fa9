// The peer that most teams write: Fastify, HMAC over the raw body, one INSERT, 200. `server.mjs PORT STORE SECRET`
// with STORE a path (SQLite, WAL, synchronous FULL) or postgres://…
import { createHmac, timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'

const [port, store, secret] = process.argv.slice(2)
const SCHEMA = body => `CREATE TABLE IF NOT EXISTS webhooks (
  id TEXT PRIMARY KEY, event_name TEXT NOT NULL, received_at BIGINT NOT NULL, body ${body} NOT NULL)`
const INSERT = v => `INSERT INTO webhooks (id, event_name, received_at, body) VALUES (${v}) ON CONFLICT DO NOTHING`

async function opened () {
  if (store.startsWith('postgres:')) {
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({ connectionString: store, max: 10 })
    await pool.query(SCHEMA('BYTEA'))
    return row => pool.query({ name: 'insert', text: INSERT('$1, $2, $3, $4'), values: row })
  }
  const { default: Database } = await import('better-sqlite3')
  const db = new Database(store)
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  db.exec(SCHEMA('BLOB'))
  const insert = db.prepare(INSERT('?, ?, ?, ?'))
  return row => insert.run(row)
}

const save = await opened()
const app = Fastify({ logger: false })
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
app.post('/webhooks/lemonsqueezy', async (request, reply) => {
  const given = Buffer.from(request.headers['x-signature'] ?? '', 'hex')
  const expected = createHmac('sha256', secret).update(request.body).digest()
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return reply.code(401).send({ error: 'invalid signature' })
  }
  const event = JSON.parse(request.body)
  await save([event.meta.webhook_id, event.meta.event_name, Date.now(), request.body])
  return { status: 'stored' }
})
await app.listen({ port: Number(port), host: '127.0.0.1' })

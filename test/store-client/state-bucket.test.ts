import t from 'tap'
import { ensureStateBucket } from '../../src/store-client/state-bucket.ts'
import { rawStore, upstreamTo } from '../support/raw-store.ts'
import { codeOf } from '../support/error-code.ts'

const never = new AbortController().signal

/** Answers by method, in order; the last one again and again. */
async function run(
  test: Pick<typeof t, 'teardown'>,
  region: string,
  answers: Record<string, readonly string[]>
): Promise<{ code: string; seen: [string, string][] }> {
  const left = new Map(Object.entries(answers).map(([method, all]) => [method, [...all]]))
  const store = await rawStore(test, {
    onRequest: (socket, { head }) => {
      const method = head.split(' ')[0] ?? ''
      const queue = left.get(method) ?? ['501']
      const [status = '', code] = (queue.length > 1 ? queue.shift()! : queue[0]!).split(' ')
      const body = code === undefined || method === 'HEAD' ? '' : code.startsWith('<') ? code : `<Error><Code>${code}</Code></Error>`
      socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    }
  })
  const code = await codeOf(ensureStateBucket(upstreamTo(test, store.endpoint), 'state', region, never))
  return { code, seen: store.seen.map(({ head, body }) => [head.split(' HTTP')[0] ?? '', body.toString()]) }
}

const location = (region: string) => new RegExp(`<LocationConstraint>${region}</LocationConstraint>`)

await t.test('there already', async (t) => {
  const { code, seen } = await run(t, 'eu-west-1', { HEAD: ['200'], GET: ['200'] })
  t.same([code, seen.map(([line]) => line)], ['ok', ['HEAD /state', 'GET /state?versioning']])
})

await t.test('versions suspended: usable, and told', async (t) => {
  const store = await rawStore(t, {
    onRequest: (socket, { head }) => {
      const body = head.startsWith('GET') ? '<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>' : ''
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    }
  })
  t.equal(await ensureStateBucket(upstreamTo(t, store.endpoint), 'state', 'us-east-1', never), 'suspended')
})

await t.test('made where absent', async (t) => {
  const far = await run(t, 'eu-west-1', { HEAD: ['404'], PUT: ['200'] })
  t.equal(far.code, 'ok')
  t.match(far.seen[1], ['PUT /state', location('eu-west-1')])
  const home = await run(t, 'us-east-1', { HEAD: ['404'], PUT: ['200'] })
  t.same([home.code, home.seen[1]], ['ok', ['PUT /state', '']])
})

await t.test('a store with other names for its locations', async (t) => {
  for (const refusal of ['InvalidLocationConstraint', 'IllegalLocationConstraintException']) {
    const { code, seen } = await run(t, 'eu-west-1', { HEAD: ['404'], PUT: [`400 ${refusal}`, '200'] })
    t.same([code, seen[2]], ['ok', ['PUT /state', '']], refusal)
  }
})

await t.test('another instance was faster', async (t) => {
  for (const answer of ['409 BucketAlreadyOwnedByYou', '409 OperationAborted']) {
    t.equal((await run(t, 'us-east-1', { HEAD: ['404'], PUT: [answer] })).code, 'ok', answer)
  }
})

await t.test('not usable', async (t) => {
  const bad: Record<string, readonly string[]>[] = [
    { HEAD: ['403'] },
    { HEAD: ['500'] },
    { HEAD: ['404'], PUT: ['409 BucketAlreadyExists'] },
    { HEAD: ['404'], PUT: ['403 AccessDenied'] },
    { HEAD: ['200'], GET: ['200 <VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'] }
  ]
  for (const answers of bad) t.equal((await run(t, 'us-east-1', answers)).code, 'ServiceUnavailable', JSON.stringify(answers))
  t.equal((await run(t, 'us-east-1', { HEAD: ['301'] })).code, 'SealgateBadUpstream')
})

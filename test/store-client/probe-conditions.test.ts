import t from 'tap'
import { probeConditions } from '../../src/store-client/probe-conditions.ts'
import { conditionalStore, type Enforced } from './conditional-store.ts'
import { byTurns } from '../support/by-turns.ts'
import { rawStore, upstreamTo } from '../support/raw-store.ts'
import { codeOf } from '../support/error-code.ts'

const never = new AbortController().signal
const either = [false, true]

const copySources = [null, 'x-amz-copy-source-if-match', 'x-amz-copy-if-match'] as const
const etagForms = ['quoted', 'bare'] as const

/** All 96 kinds of store, or 14 of them in which every pair of values meets. */
function kindsOfStore(): Enforced[] {
  const all = either.flatMap((put) =>
    either.flatMap((complete) =>
      either.flatMap((copy) =>
        either.flatMap((del) =>
          copySources.flatMap((copySource) => etagForms.map((putEtags): Enforced => ({ put, complete, copy, delete: del, copySource, putEtags })))
        )
      )
    )
  )
  return all.filter(({ put, complete, copy, delete: del, copySource, putEtags }) =>
    byTurns((Number(put) + Number(complete) + Number(copy) + 2 * (Number(del) + copySources.indexOf(copySource) + etagForms.indexOf(putEtags))) % 7 === 0)
  )
}

await t.test('finds exactly the conditions that the store enforces, and leaves nothing behind', async (t) => {
  const kinds = kindsOfStore()
  for (const enforced of kinds) {
    const store = await conditionalStore(t, enforced)
    const found = await probeConditions(upstreamTo(t, store.endpoint), 'state', never)
    const { put, complete, copy, delete: del, copySource, putEtags } = enforced
    t.same(found, {
      put,
      complete,
      copy,
      delete: del,
      copySourceIfMatch: copySource !== null,
      putEtags: put ? putEtags : 'quoted',
      copySourceHeader: copySource ?? 'x-amz-copy-source-if-match'
    }, JSON.stringify(enforced))
    t.same([store.objects.size, store.uploads.size], [0, 0])
  }
  t.comment(`${kinds.length} kinds of store, each probed right`)
})

await t.test('an ill store gives no result instead of a wrong one', async (t) => {
  const answers = {
    'cannot be written': ['HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n'],
    'fails when asked': ['HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n', 'HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n']
  }
  for (const [name, [first, then]] of Object.entries(answers)) {
    let count = 0
    const store = await rawStore(t, {
      onRequest: (socket) => {
        count += 1
        socket.write(count === 1 ? first! : then ?? first!)
      }
    })
    t.equal(await codeOf(probeConditions(upstreamTo(t, store.endpoint), 'state', never)), 'ServiceUnavailable', name)
  }
})

await t.test('a refusal may come late, inside a 200', async (t) => {
  const document = '<Error><Code>PreconditionFailed</Code></Error>'
  const store = await rawStore(t, {
    onRequest: (socket, { path, headers }) => {
      const body = path.endsWith('?uploads') ?
        '<R><UploadId>u</UploadId></R>'
        : headers.get('if-none-match') === '*' || headers.get('if-match')?.startsWith('"000') === true
        ? document
        : ''
      socket.write(`HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    }
  })
  t.match(await probeConditions(upstreamTo(t, store.endpoint), 'state', never), {
    put: true,
    complete: true,
    copy: true,
    delete: true,
    copySourceIfMatch: false
  })
})
